"""Small Java programs in `java/` that call the functions of `streams/java` without Flink."""

from __future__ import annotations

import shutil
from pathlib import Path

from compose.flink_cluster import flink_home
from compose.functions_jar import build_functions, functions_jar
from compose.java_runtime import java_home
from compose.part import PROJECT_ROOT


def java_command(root: Path, program: str, *arguments: str) -> list[str]:
    """Compile the functions with a program and return the command that runs it.

    Args:
        root: an empty folder, for copies and classes.
        program: name of its class.
        arguments: what it is given.
    """
    shutil.copytree(PROJECT_ROOT / "streams" / "java", root / "java")
    shutil.copy(Path(__file__).parent / "java" / f"{program}.java", root / "java")
    shutil.copy(PROJECT_ROOT / "jgo.lock.toml", root)
    (root / ".jars").mkdir()
    for folder in ("tools", "flink"):
        (root / ".jars" / folder).symlink_to(PROJECT_ROOT / ".jars" / folder)
    build_functions(root, root / "java")
    class_path = f"{functions_jar(root)}:{flink_home() / 'lib'}/*:{root / '.jars' / 'flink'}/*"
    return [str(java_home() / "bin" / "java"), "-cp", class_path, f"headrace.functions.{program}", *arguments]
