"""Jars count only with the locked digest, and damage is mended."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from compose import jars
from compose.errors import NotInstalledError
from compose.jars import LockedJar, class_path, damaged_jars, install_jars, read_lock
from tests.compose.small_stack import ROOT

CONTENT = {"kafka": b"broker", "flink": b"connector"}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one jar per folder locked, and a jgo that 'downloads' what is absent."""
    entries = [
        f'[[dependencies]]\ngroupId = "org.apache.{name}"\nartifactId = "{name}"\nversion = "1"\n'
        f'sha256 = "{hashlib.sha256(content).hexdigest()}"\n'
        for name, content in CONTENT.items()
    ]
    (tmp_path / "jgo.lock.toml").write_text("\n".join(entries))

    def download(_root: Path, repository: Path) -> None:
        for jar in read_lock(tmp_path / "jgo.lock.toml"):
            path = repository / jar.repository_path
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_bytes(CONTENT[jar.artifact])

    monkeypatch.setattr(jars, "_run_jgo", download)
    return tmp_path


def jar_file(checkout: Path, name: str) -> Path:
    """Return where a jar is installed."""
    return checkout / ".jars" / name / f"{name}-1.jar"


def test_every_jar_lands_on_its_class_path(checkout: Path) -> None:
    """The connector goes to Flink, all else to Kafka."""
    assert install_jars(checkout) == 2
    assert class_path("kafka", checkout) == [jar_file(checkout, "kafka")]
    assert class_path("flink", checkout) == [jar_file(checkout, "flink")]


def test_second_installation_does_nothing(checkout: Path) -> None:
    """What is right is left alone."""
    install_jars(checkout)
    assert install_jars(checkout) == 0


@pytest.mark.parametrize("damage", [b"", b"bro", b"brokes"])
def test_damaged_jar_is_fetched_again(checkout: Path, damage: bytes) -> None:
    """Half a download and a flipped byte are noticed by the digest and mended."""
    install_jars(checkout)
    jar_file(checkout, "kafka").write_bytes(damage)  # One file with the repository's copy: both are damaged.
    assert [jar.artifact for jar in damaged_jars(checkout)] == ["kafka"]
    assert install_jars(checkout) == 1
    assert jar_file(checkout, "kafka").read_bytes() == b"broker"


def test_jar_of_an_older_lock_is_removed(checkout: Path) -> None:
    """Two versions on one class path would both be loaded."""
    install_jars(checkout)
    stranger = jar_file(checkout, "kafka").with_name("kafka-0.jar")
    stranger.write_bytes(b"old")
    install_jars(checkout)
    assert not stranger.exists()


def test_wrong_download_is_refused(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository that serves something else cannot get it on the class path."""
    monkeypatch.setitem(CONTENT, "kafka", b"malice")
    with pytest.raises(NotInstalledError, match=r"kafka-1\.jar is not what jgo\.lock\.toml names"):
        install_jars(checkout)
    assert not jar_file(checkout, "kafka").exists()


def test_missing_jar_is_said_before_java_starts(checkout: Path) -> None:
    """The class path is never handed out incomplete."""
    with pytest.raises(NotInstalledError, match="make setup"):
        class_path("kafka", checkout)


def test_damaged_lock_is_one_sentence(tmp_path: Path) -> None:
    """A lock file cut short is an expected error."""
    (tmp_path / "jgo.lock.toml").write_text("[[dependencies]]\ngroupId =")
    with pytest.raises(NotInstalledError, match=r"jgo\.lock\.toml cannot be read"):
        damaged_jars(tmp_path)


def test_our_lock_names_what_the_stack_runs() -> None:
    """The checked-in lock has the broker, the connector and a digest for every jar."""
    locked = {jar.artifact: jar for jar in read_lock(ROOT / "jgo.lock.toml")}
    assert locked["kafka_2.13"].version == locked["kafka-clients"].version == "4.3.1"
    assert locked["flink-sql-connector-kafka"].folder == "flink"
    assert all(len(jar.sha256) == 64 for jar in locked.values())


def test_repository_path_follows_maven() -> None:
    """Group, artifact and version are folders."""
    jar = LockedJar("org.apache.kafka", "kafka_2.13", "4.3.1", "")
    assert str(jar.repository_path) == "org/apache/kafka/kafka_2.13/4.3.1/kafka_2.13-4.3.1.jar"
