"""The doctor names what is wrong and how to mend it."""

from __future__ import annotations

import importlib.util
import shutil
import socket
from pathlib import Path

import pytest

from compose import doctor, java_runtime
from compose.config import PortsConfig
from compose.doctor import (
    NEEDED_MEMORY_MB,
    check_disk,
    check_jars,
    check_java,
    check_memory,
    check_model_store,
    check_packages,
    check_ports,
    check_redis,
)
from compose.ports import HOST, free_ports
from features.model_store_config import ModelStoreConfig
from tests.compose.small_stack import ROOT
from tests.store_places import switched_place
from tests.trainer.conftest import make_version
from trainer.version_files import write_version


def free_ports_config(**taken: int) -> PortsConfig:
    """Return ports of which only `taken` are in use."""
    names = list(PortsConfig.model_fields)
    return PortsConfig(**{**dict(zip(names, free_ports(len(names)), strict=True)), **taken})


def test_every_finding_that_is_not_ok_has_a_mend() -> None:
    """A problem without a way out helps nobody."""
    findings = [check_memory(1), check_jars(Path("/nowhere"))]
    assert all(not finding.is_ok and finding.mend for finding in findings)


def test_too_little_memory_is_told() -> None:
    """The amount that is missing stands in the mend."""
    assert check_memory(NEEDED_MEMORY_MB).is_ok
    assert str(NEEDED_MEMORY_MB) in check_memory(NEEDED_MEMORY_MB - 1).mend


def test_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of the state directory counts, also where that does not exist yet."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(100, 99, 1 << 20))
    finding = check_disk(tmp_path / "state" / "of" / "tomorrow")
    assert not finding.is_ok
    assert finding.detail == f"1 MB free at {tmp_path}"


def test_taken_port_is_named() -> None:
    """Each taken port is a finding of its own, with the setting that moves it."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        findings = check_ports(free_ports_config(redis=listener.getsockname()[1]))
    assert ["stack.ports.redis" in finding.mend for finding in findings] == [True]


def test_model_store_is_asked(tmp_path: Path) -> None:
    """Its versions are counted; without a section it lies in the state directory."""
    write_version(tmp_path / "m" / "headrace", make_version("1.0"))
    finding = check_model_store(ModelStoreConfig(uri=str(tmp_path / "m")), "headrace")
    assert (finding.is_ok, finding.detail) == (True, f"1 snapshots in {tmp_path / 'm' / 'headrace'}")
    assert check_model_store(ModelStoreConfig(), "headrace").is_ok


def test_model_store_that_is_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """So are a variable that is not set and whatever the store says, each with its mend."""
    config = ModelStoreConfig(uri="s3://models", access_key_env="NO_SUCH_KEY", secret_key_env="NO_SUCH_SECRET")
    finding = check_model_store(config, "headrace")
    assert (finding.is_ok, "NO_SUCH_KEY that is not set" in finding.detail) == (False, True)
    place, files = switched_place()
    files.is_down = True
    monkeypatch.setattr(doctor, "open_versions", lambda *_arguments: place.store)
    finding = check_model_store(ModelStoreConfig(uri="s3://models"), "headrace")
    assert ("nobody listens" in finding.detail, "start the store" in finding.mend) == (True, True)


def test_free_ports_are_one_finding() -> None:
    """Nothing taken is one line."""
    assert [finding.is_ok for finding in check_ports(free_ports_config())] == [True]


def test_missing_redis_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither on PATH nor as a wheel."""
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert "make setup" in check_redis().mend


def test_old_java_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Java 11 on PATH and no wheel is as good as none."""
    monkeypatch.setattr(java_runtime, "java_version", lambda _home: 11)
    monkeypatch.setattr(java_runtime, "java_home", java_runtime.java_home.__wrapped__)
    monkeypatch.setattr(doctor, "java_home", java_runtime.java_home)
    finding = check_java()
    assert not finding.is_ok
    assert "Java 17 or newer" in finding.mend


def test_java_of_the_wheel_is_found_without_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Java runs the stack all the same."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    home = java_runtime.java_home.__wrapped__()
    assert home == java_runtime.wheel_java_home()
    assert java_runtime.java_version(home) == 21


def test_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of ours that is not installed is named."""
    monkeypatch.setattr(doctor, "_PACKAGES", ("pydantic", "no-such-distribution"))
    assert check_packages().detail == "missing: no-such-distribution"


def test_missing_jars_are_counted(tmp_path: Path) -> None:
    """A checkout without `make setup` has none of the locked jars."""
    shutil.copy(ROOT / "jgo.lock.toml", tmp_path)
    assert check_jars(tmp_path).detail.startswith("48 of 48 missing or damaged")
