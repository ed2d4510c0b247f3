"""Imports point one way, and the heavy libraries stay where they belong."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAY_IMPORT = {
    "protos": set(),
    "features": {"protos"},
    "streams": {"protos", "features"},
    "trainer": {"protos", "features"},
    "serving": {"protos", "features", "trainer"},
    "compose": {"protos", "features", "streams", "trainer", "serving"},
}
HEAVY = {"pyflink": {"streams"}, "torch": {"trainer", "serving"}}
SERVING_TAKES = {
    "model",
    "model_version",
    "embedding_table",
    "version_files",
    "version_delta",
    "version_image",
    "delta_chunks",
    "id_map",
    "input_scaling",
}
FILES = [path for package in MAY_IMPORT for path in sorted((ROOT / package).rglob("*.py")) if "_pb2" not in path.name]


def imported_modules(path: Path) -> set[str]:
    """Return the full names of every module that a file imports, lazily or not."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    """A package imports only what stands left of it; pyflink and torch only where allowed."""
    package = path.relative_to(ROOT).parts[0]
    roots = {name.split(".")[0] for name in imported_modules(path)}
    assert roots & MAY_IMPORT.keys() <= MAY_IMPORT[package] | {package}
    assert not {heavy for heavy, homes in HEAVY.items() if heavy in roots and package not in homes}


@pytest.mark.parametrize("path", sorted((ROOT / "serving").rglob("*.py")), ids=lambda path: path.name)
def test_serving_takes_model_and_versions_from_the_trainer(path: Path) -> None:
    """The model, its versions as files, deltas and images, nothing of the learner."""
    modules = {name for name in imported_modules(path) if name.startswith("trainer.")}
    assert all(name.split(".")[1] in SERVING_TAKES for name in modules)


def test_no_import_cycles() -> None:
    """The modules of all packages form an acyclic graph."""
    graph = {".".join(path.relative_to(ROOT).with_suffix("").parts): imported_modules(path) for path in FILES}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, f"cycle: {' -> '.join((*above, module))}"
        if module not in done:
            for name in graph[module] & graph.keys():
                visit(name, (*above, module))
            done.add(module)

    for module in graph:
        visit(module, ())
