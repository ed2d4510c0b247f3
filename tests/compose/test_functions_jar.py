"""The Java functions are compiled when they changed, and only then."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from compose import functions_jar as functions
from compose.errors import NotInstalledError
from compose.functions_jar import build_functions, functions_jar, is_current, main, sources_digest
from streams.java_functions import FUNCTIONS, SOURCES
from tests.compose.small_stack import ROOT


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder with one small function."""
    folder = tmp_path / "java"
    folder.mkdir()
    (folder / "One.java").write_text("package headrace.functions;\n\npublic class One {}\n")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with the compiler, and nothing compiled."""
    if not (ROOT / ".jars" / "tools").exists():
        pytest.skip("the compiler is not installed; `make setup` installs it")
    shutil.copy(ROOT / "jgo.lock.toml", tmp_path)
    (tmp_path / ".jars").mkdir()
    (tmp_path / ".jars" / "tools").symlink_to(ROOT / ".jars" / "tools")
    return tmp_path


def class_names(jar: Path) -> set[str]:
    """The classes in a jar."""
    with zipfile.ZipFile(jar) as archive:
        return {name for name in archive.namelist() if name.endswith(".class")}


def test_current_jar_is_not_built_again(root: Path, sources: Path) -> None:
    """The second `make setup` compiles nothing."""
    assert build_functions(root, sources)
    assert class_names(functions_jar(root)) == {"headrace/functions/One.class"}
    built = functions_jar(root).stat()
    assert not build_functions(root, sources)
    assert functions_jar(root).stat().st_mtime_ns == built.st_mtime_ns


def test_changed_sources_are_compiled(root: Path, sources: Path) -> None:
    """A new function is in the jar, one that is gone is not."""
    build_functions(root, sources)
    (sources / "One.java").rename(sources / "Two.java")
    (sources / "Two.java").write_text("package headrace.functions;\n\nfinal class Two {}\n")
    assert build_functions(root, sources)
    assert class_names(functions_jar(root)) == {"headrace/functions/Two.class"}


def test_broken_source_is_an_expected_error(root: Path, sources: Path) -> None:
    """The compiler's own words, with file and line; the jar that worked stays."""
    build_functions(root, sources)
    before = functions_jar(root).read_bytes()
    (sources / "One.java").write_text("package headrace.functions;\n\npublic class One { int x = ; }\n")
    with pytest.raises(NotInstalledError, match=r"(?s)streams/java does not compile:.*One\.java.*line 3"):
        build_functions(root, sources)
    assert functions_jar(root).read_bytes() == before


def test_missing_compiler_is_one_sentence(tmp_path: Path, sources: Path) -> None:
    """Before anything is started."""
    shutil.copy(ROOT / "jgo.lock.toml", tmp_path)
    with pytest.raises(NotInstalledError, match="make setup"):
        build_functions(tmp_path, sources)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "missing", "no digest"])
def test_damaged_jar_is_not_current(tmp_path: Path, damage: str) -> None:
    """Half a jar, a flipped bit and a jar of something else are built again."""
    jar = tmp_path / "functions.jar"
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("One.class", b"class" * 100)
        archive.writestr("other" if damage == "no digest" else functions._DIGEST_ENTRY, "digest")
    whole = jar.read_bytes()
    broken = {"cut": whole[:200], "flip": whole.replace(b"class" * 9, b"clasz" * 9, 1), "empty": b""}
    jar.write_bytes(broken.get(damage, whole))
    if damage == "missing":
        jar.unlink()
    assert not is_current(jar, "digest")


def test_every_function_of_the_jobs_has_its_source() -> None:
    """SQL names no class that is not compiled."""
    assert {one.class_name for one in FUNCTIONS} <= {path.stem for path in SOURCES.glob("*.java")}


def test_the_digest_is_of_names_and_texts(sources: Path) -> None:
    """A renamed file is another set of sources."""
    first = sources_digest(sources)
    (sources / "One.java").rename(sources / "Eins.java")
    assert sources_digest(sources) != first


def test_a_failed_build_is_one_sentence_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python -m compose.functions_jar` shows no traceback."""

    def fail() -> bool:
        raise NotInstalledError("no Java; run `make setup`")

    monkeypatch.setattr(functions, "build_functions", fail)
    assert main([]) == NotInstalledError.exit_code
    assert capsys.readouterr().err == "headrace: no Java; run `make setup`\n"
