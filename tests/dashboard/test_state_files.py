"""The status of parts, from this disk or from the ports of parts elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from compose.dashboard.state_files import StateFiles
from features.config import ClientTls, Endpoints
from features.security.config import TlsConfig
from features.security.metrics_port import MetricsPort
from features.security.role import Role
from features.security.token_file import Tokens
from serving.security.token_keeper import TokenKeeper
from tests.serving.secure_parts import Certificates, make_certificates

NOW_MS = 1_790_000_000_000


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Of one small authority."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def elsewhere(tmp_path: Path, certificates: Certificates) -> Iterator[dict[str, Any]]:
    """A trainer on another machine: TLS, a token of role `metrics`, its status behind both."""
    folder = tmp_path / "trainer"
    folder.mkdir()
    (folder / "trainer.json").write_text(json.dumps({"time_ms": NOW_MS, "items": 7}))
    secret, _ = TokenKeeper(folder / "tokens.json").create("page", Role.METRICS)
    (tmp_path / "token").write_text(secret + "\n")
    tls = TlsConfig(certificate=certificates.path("server.pem"), key=certificates.path("server.key"))
    tokens = Tokens(folder / "tokens.json")
    port = MetricsPort("127.0.0.1:0", CollectorRegistry(), tokens, tls, folder / "trainer.json")
    port.start()
    yield {
        "status": {"trainer": port.address},
        "tls": ClientTls(ca=str(certificates.path("ca.pem")), server_name="localhost"),
        "metrics_token_file": str(tmp_path / "token"),
    }
    port.stop()


def files_of(state: Path, **others: Any) -> StateFiles:
    """What a dashboard reads."""
    files = StateFiles(Endpoints(kafka="", redis="", model_store="", state=str(state), **others))
    files.read()
    return files


def test_a_part_elsewhere_is_asked_and_the_others_are_read(tmp_path: Path, elsewhere: dict[str, Any]) -> None:
    """Each where the endpoints file says; who tells nothing is silent."""
    (tmp_path / "serving.json").write_text(json.dumps({"time_ms": NOW_MS, "swaps": 3}))
    files = files_of(tmp_path, **elsewhere)
    assert (files["trainer"]["items"], files["serving"]["swaps"]) == (7, 3)
    assert files.silent_parts(NOW_MS) == ["ingester", "quality"]


@pytest.mark.parametrize("lacks", ["metrics_token_file", "tls"])
def test_without_a_token_or_trust_nothing_is_shown(tmp_path: Path, elsewhere: dict[str, Any], lacks: str) -> None:
    """A part that does not answer us is silent, no error of the page."""
    del elsewhere[lacks]
    assert "trainer" in files_of(tmp_path, **elsewhere).silent_parts(NOW_MS)


def test_what_is_no_status_leaves_nothing_behind(tmp_path: Path, elsewhere: dict[str, Any]) -> None:
    """Half a file, a list, a part that is gone, an address that is none."""
    for text in ("{", "[]"):
        (tmp_path / "trainer" / "trainer.json").write_text(text)
        assert files_of(tmp_path, **elsewhere)["trainer"] == {}
    (tmp_path / "trainer" / "trainer.json").unlink()
    assert files_of(tmp_path, **elsewhere)["trainer"] == {}
    for address in ("127.0.0.1:1", "nowhere"):
        assert files_of(tmp_path, **(elsewhere | {"status": {"trainer": address}}))["trainer"] == {}
