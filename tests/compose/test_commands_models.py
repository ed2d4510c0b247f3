"""Laws of `headrace models`: a list without a verb, and orders to load a version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from compose.cli import main
from compose.commands_models import parse_share
from protos import serving_pb2 as pb


class FakeAdmin:
    """Keeps what it is ordered.

    Args:
        endpoints: not looked at.
        token_file: likewise.
    """

    loads: list[tuple[str, float]]

    def __init__(self, endpoints: object, token_file: object) -> None: ...

    def list_models(self) -> list[pb.ModelVersionStatus]:
        """Return one version."""
        return [pb.ModelVersionStatus(version="1.1")]

    def load(self, version: str, canary_share: float) -> pb.ModelVersionStatus:
        """Keep the order."""
        self.loads.append((version, canary_share))
        return pb.ModelVersionStatus(version=version)


def run(arguments: list[str]) -> None:
    """Run one command that ends well."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0


def test_models_lists_and_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options of the list stay where they were; a canary says whom it serves."""
    FakeAdmin.loads = []
    monkeypatch.setattr("compose.serving_client.AdminClient", FakeAdmin)
    endpoints = tmp_path / "endpoints.json"
    endpoints.write_text(json.dumps({"kafka": "k", "redis": "r", "model_store": "m", "state": "s"}))
    where = ["--endpoints", str(endpoints)]
    run(["models", "--json", *where])
    assert json.loads(capsys.readouterr().out)[0]["version"] == "1.1"
    run(["models", "load", "1.2", *where])
    run(["models", "load", "1.3", "--canary", "5%", *where])
    assert FakeAdmin.loads == [("1.2", 0.0), ("1.3", 0.05)]
    assert "1.3 serves 5.00% of the users" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), ("0.5%", 0.005), ("0.25", 0.25)])
def test_share_is_a_percentage_or_a_fraction(text: str, share: float) -> None:
    """As people write it."""
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["5", "0", "100%", "-1%", "some", "nan", "%"])
def test_share_that_is_none_is_refused(text: str) -> None:
    """With an example."""
    with pytest.raises(typer.BadParameter, match="write for example 5%"):
        parse_share(text)


class KnowsVersions(FakeAdmin):
    """Knows a live version, a held one and the one before; has no orders at all, so that one given would fail."""

    def list_models(self) -> list[pb.ModelVersionStatus]:
        """Return all three, oldest first."""
        return [
            pb.ModelVersionStatus(version="1.1", state=pb.MODEL_STATE_AVAILABLE),
            pb.ModelVersionStatus(version="1.2", state=pb.MODEL_STATE_AVAILABLE, is_live=True),
            pb.ModelVersionStatus(version="1.3", state=pb.MODEL_STATE_HELD),
        ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rollback"], "would go back to the version before, from 1.2"),
        (["rollback", "1.1"], "would go back to 1.1, from 1.2"),
        (["models", "reject"], "would reject 1.3"),
    ],
)
def test_a_dry_run_names_the_version_and_orders_nothing(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The live one, or the newest that is held."""
    monkeypatch.setattr("compose.serving_client.AdminClient", KnowsVersions)
    endpoints = tmp_path / "endpoints.json"
    endpoints.write_text(json.dumps({"kafka": "k", "redis": "r", "model_store": "m", "state": "s"}))
    run([*words, "--dry-run", "--endpoints", str(endpoints)])
    assert capsys.readouterr().out == f"{said}\n"
