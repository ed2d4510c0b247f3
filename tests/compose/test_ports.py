"""Ports: fixed ones are checked, free ones are found and remembered."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose.config import PortsConfig
from compose.errors import PortTakenError
from compose.ports import HOST, choose_ports, first_port_of_the_kernel, free_ports, holder_of, is_free


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that this process listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_free_ports_differ_and_are_free() -> None:
    """No two parts get one port."""
    ports = free_ports(7)
    assert len(set(ports)) == 7
    assert all(is_free(port) for port in ports)


def test_what_is_promised_is_given_to_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two listeners of one broker got one port once, and the broker never came up."""
    first, second, third = free_ports(3)
    monkeypatch.setattr("compose.ports._candidates", lambda: iter([first, second, third]))
    assert free_ports(1, {"kafka": first, "redis": second}.values()) == [third]


def test_free_ports_are_not_those_that_the_kernel_hands_out() -> None:
    """Between choice and use a connection, or a server that does not care, must not take them."""
    with socket.socket() as server:
        server.bind((HOST, 0))
        assert max(free_ports(20)) < first_port_of_the_kernel() <= server.getsockname()[1]


def test_taken_port_is_named_with_its_holder_and_the_mend(taken_port: int, tmp_path: Path) -> None:
    """The sentence says which port, for what, who has it, and what to do."""
    names = list(PortsConfig.model_fields)
    ports = PortsConfig(**dict(zip(names, [*free_ports(len(names) - 1), taken_port], strict=True)))
    expected = (
        rf"port {taken_port} \({names[-1]}\) is taken by .*{os.getpid()}.*stack\.ports\.{names[-1]}.*--ports auto"
    )
    with pytest.raises(PortTakenError, match=expected):
        choose_ports("default", ports, tmp_path / "ports.json")


def test_default_ports_are_the_configured_ones(tmp_path: Path) -> None:
    """Free configured ports are taken as they are, and nothing is remembered."""
    names = list(PortsConfig.model_fields)
    wanted = dict(zip(names, free_ports(len(names)), strict=True))
    assert choose_ports("default", PortsConfig(**wanted), tmp_path / "ports.json") == wanted
    assert not (tmp_path / "ports.json").exists()


def test_automatic_ports_stay_the_same(tmp_path: Path) -> None:
    """A second start in the same state directory has the same addresses."""
    first = choose_ports("auto", PortsConfig(), tmp_path / "ports.json")
    assert choose_ports("auto", PortsConfig(), tmp_path / "ports.json") == first


def test_remembered_port_that_is_taken_is_replaced(taken_port: int, tmp_path: Path) -> None:
    """Only what is no longer free changes."""
    remembered = tmp_path / "ports.json"
    first = choose_ports("auto", PortsConfig(), remembered)
    remembered.write_text(remembered.read_text().replace(str(first["redis"]), str(taken_port)))
    second = choose_ports("auto", PortsConfig(), remembered)
    assert second["redis"] != taken_port
    assert second | {"redis": 0} == first | {"redis": 0}


def test_damaged_memory_is_forgotten(tmp_path: Path) -> None:
    """A half-written file is no reason to fail."""
    (tmp_path / "ports.json").write_text('{"kafka": 1')
    assert set(choose_ports("auto", PortsConfig(), tmp_path / "ports.json")) == set(PortsConfig.model_fields)


def test_unknown_holder_is_said_so() -> None:
    """A port that nobody of ours holds has no name to give."""
    assert holder_of(free_ports(1)[0]) == "another process"
