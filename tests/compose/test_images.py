"""What images hold, as far as no engine is needed: the parts' imports against the extras that images install."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from features.alive import main as alive
from features.config import load_endpoints
from features.metrics_config import PARTS

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "compose" / "docker"
OURS = {"protos", "features", "streams", "trainer", "serving", "compose", "headrace_client"}
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
IMAGES = {
    "serving": ("serving", ["serving.__main__", "serving.health_check"]),
    "trainer": ("trainer", ["trainer.__main__", "features.alive"]),
    "tools": (
        "tools",
        [
            "features.__main__",
            "features.apply",
            "features.quality.__main__",
            "compose.topics",
            "compose.exporter.__main__",
            "compose.dashboard.__main__",
        ],
    ),
    "flink": ("streams", ["streams.__main__"]),
}
"""Image -> its extra, and what is started in it."""


def declared(extra: str) -> set[str]:
    """Return the distributions that an extra names, with those of extras that it takes in and of every part."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: set[str] = set()
    todo = [*project["dependencies"], *project["optional-dependencies"][extra]]
    for requirement in map(Requirement, todo):
        if requirement.name == "headrace":
            todo += [line for taken in requirement.extras for line in project["optional-dependencies"][taken]]
        found.add(requirement.name.lower())
    return found


def _file_of(module: str) -> Path | None:
    path = ROOT / (module.replace(".", "/"))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()), None)


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def reached(modules: Iterable[str]) -> tuple[set[str], set[str]]:
    """Return our packages and the others' that modules import, lazily or not, over any number of steps."""
    todo, seen, others = list(modules), set[str](), set[str]()
    for module in todo:
        path = _file_of(module)
        if module in seen or path is None:
            continue
        seen.add(module)
        names = list(_imports(path))
        todo += [module.rpartition(".")[0], *(name for name in names if name.split(".")[0] in OURS)]
        others |= {name.split(".")[0] for name in names} - OURS - sys.stdlib_module_names
    return {module.split(".")[0] for module in seen}, others


def stage_of(target: str) -> str:
    """Return the lines of one stage of the Dockerfile."""
    return re.split(r"^FROM ", DOCKERFILE.split(f" AS {target}\n")[1], flags=re.MULTILINE)[0]


@pytest.mark.parametrize("image", IMAGES)
def test_image_installs_what_its_parts_import(image: str) -> None:
    """Nothing that is imported is missing in an image: a direct dependency is declared, not had by chance."""
    extra, modules = IMAGES[image]
    wanted, by_package = reached(modules)[1], packages_distributions()
    # py4j is pyflink's own, google is protobuf's; traces are an extra that the server runs without.
    missing = {
        name
        for name in wanted - {"py4j", "google", "opentelemetry"}
        if not {each.lower().replace("_", "-") for each in by_package.get(name, [name])} & declared(extra)
    }
    assert missing == set()


@pytest.mark.parametrize("image", IMAGES)
def test_image_copies_the_packages_that_its_parts_import(image: str) -> None:
    """Our own code, too: what a part imports lies in its image."""
    copied = set(re.findall(r"^COPY (\w+) \w+$", stage_of("base") + stage_of(image), re.MULTILINE))
    wanted = reached(IMAGES[image][1])[0] - {"headrace_client"}
    assert wanted <= copied


def test_server_needs_neither_flink_nor_feast() -> None:
    """The slim image: no JVM, and nothing that wants one."""
    assert declared("serving") & {"apache-flink", "feast", "pandas", "pyarrow", "river", "scipy"} == set()
    assert "openjdk" not in stage_of("serving") + stage_of("base")


@pytest.mark.parametrize("target", ["serving", "trainer", "tools", "flink"])
def test_images_run_without_rights(target: str) -> None:
    """Root is nobody's user, in no image."""
    users = re.findall(r"^USER (\S+)$", stage_of("base") + stage_of(target), re.MULTILINE)
    assert users
    assert not {user.partition(":")[0] for user in users} & {"0", "root"}


def test_every_service_is_confined_checked_and_restarted() -> None:
    """Of our own ones: no rights, no writes to the image, a health check where it is a server."""
    ours = {name: service for name, service in COMPOSE["services"].items() if service["image"].startswith("headrace/")}
    steps = {"topics", "features-apply", "jobs"}
    assert {name for name, service in ours.items() if service["cap_drop"] != ["ALL"]} == set()
    unchecked = {name for name, service in ours.items() if "healthcheck" not in service}
    assert unchecked - steps == {"taskmanager", "exporter"}, "Flink watches its TaskManagers, Prometheus the exporter"
    assert {service["restart"] for service in ours.values()} == {"unless-stopped", "on-failure"}


def test_services_wait_for_services_that_are_there() -> None:
    """Conditions fit: a step is waited for until it is done, a server until it is healthy."""
    services = COMPOSE["services"]
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services, name
            is_step = services[needed].get("restart") == "on-failure"
            assert how["condition"] == ("service_completed_successfully" if is_step else "service_healthy"), name


def test_volumes_and_configs_are_declared_and_used() -> None:
    """A volume without a name would be lost with its container."""
    used = {
        volume.partition(":")[0] for service in COMPOSE["services"].values() for volume in service.get("volumes", ())
    }
    assert used == COMPOSE["volumes"].keys()
    assert all((DOCKER / config["file"]).exists() for config in COMPOSE["configs"].values())


def test_endpoints_of_containers_are_whole_and_on_loopback() -> None:
    """Parts share the host's network, so nothing may listen for others."""
    endpoints = load_endpoints(DOCKER / "endpoints.json")
    addresses = [endpoints.kafka, endpoints.redis, endpoints.serving, endpoints.admin, endpoints.dashboard]
    addresses += [*endpoints.metrics.values(), *endpoints.status.values()]
    assert {address.rpartition(":")[0] for address in addresses} == {"127.0.0.1"}
    assert set(endpoints.metrics) == set(PARTS)


def test_install_script_is_valid_shell() -> None:
    """The images are only as good as what installs them."""
    assert subprocess.run(["sh", "-n", DOCKER / "install.sh"], check=False).returncode == 0


@pytest.mark.parametrize(("age_s", "code"), [(1.0, 0), (120.0, 1)])
def test_a_part_that_is_silent_is_not_alive(tmp_path: Path, age_s: float, code: int) -> None:
    """A hanging process writes no status any more."""
    (tmp_path / "trainer.json").write_text(json.dumps({"time_ms": 1000.0 * (time.time() - age_s)}))
    assert alive([str(tmp_path / "trainer.json")]) == code


def test_a_part_that_never_told_is_not_alive(tmp_path: Path) -> None:
    """No file is no life, and no traceback."""
    assert alive([str(tmp_path / "trainer.json")]) == 1
