"""Versions stand in time, whoever tells of them."""

from __future__ import annotations

import json

import pytest

from compose.dashboard.version_line import VersionLine
from protos import serving_pb2 as pb
from tests.trainer.test_version_delta import image_of, make_delta
from trainer.delta_chunks import chunk_records
from trainer.version_delta import encode_delta


@pytest.fixture
def line() -> VersionLine:
    """A line that has heard nothing yet."""
    return VersionLine(image_of().manifest.name)


def versions(line: VersionLine) -> dict[str, dict[str, object]]:
    """The versions as the page gets them."""
    return {one["version"]: one for one in line.view(0)["versions"]}


def test_a_delta_is_described_and_its_weights_kept(line: VersionLine) -> None:
    """Its first chunk says what it is, its last one makes the payload whole."""
    payload = encode_delta(make_delta(image_of()))
    manifests = [line.on_delta(value) for value in chunk_records(image_of().manifest.name, "1.1", "", payload)]
    assert [one is not None and one.version for one in manifests] == ["1.1"]
    told = versions(line)["1.1"]
    assert (told["kind"], told["payload_bytes"], line.dense_payload("1.1")) == ("delta", len(payload), payload)


@pytest.mark.parametrize("value", [None, b"", b"{", b"\xff\xff\xff\xff1234"])
def test_bytes_of_a_stranger_are_passed_over(line: VersionLine, value: bytes | None) -> None:
    """No topic's content ends the page."""
    line.on_delta(value)
    line.on_announcement(value)
    line.on_order(value)
    assert line.view(0) == {"versions": [], "orders": []}


def test_a_held_version_says_why(line: VersionLine) -> None:
    """Also before the server was asked."""
    line.on_announcement(json.dumps({"version": "1.7", "gate": "HELD", "gate_reason": "odd scores"}).encode())
    told = versions(line)["1.7"]
    assert (told["state"], told["reason"]) == ("held", "odd scores")


def test_the_server_says_what_it_can_go_back_to(line: VersionLine) -> None:
    """What it lists no longer cannot be chosen any more."""
    line.on_statuses([pb.ModelVersionStatus(version="1.1", state=pb.MODEL_STATE_AVAILABLE, is_live=True)])
    assert [versions(line)["1.1"][name] for name in ("state", "is_live", "is_stored")] == ["available", True, True]
    line.on_statuses([pb.ModelVersionStatus(version="1.2", is_live=True)])
    assert [one["version"] for one in line.view(1)["versions"]] == ["1.2"]


def test_the_live_delta_is_no_snapshot(line: VersionLine) -> None:
    """Also where the server told of it before its record was read."""
    line.on_statuses([pb.ModelVersionStatus(version="1.1", state=pb.MODEL_STATE_AVAILABLE, is_live=True)])
    for value in chunk_records(image_of().manifest.name, "1.1", "", encode_delta(make_delta(image_of()))):
        line.on_delta(value)
    assert versions(line)["1.1"]["kind"] == "delta"


def test_every_version_behind_a_kept_snapshot_can_be_gone_back_to(line: VersionLine) -> None:
    """In its own epoch; what a gate holds cannot, and nothing that is older than the snapshots."""
    held = pb.ModelVersionStatus(version="2.9", state=pb.MODEL_STATE_HELD)
    line.on_statuses([pb.ModelVersionStatus(version="2.3", state=pb.MODEL_STATE_UNLOADED), held])
    for version in ("1.8", "2.2", "2.4"):
        line._entry(version).kind = "delta"
    assert [version for version, one in versions(line).items() if one["is_reachable"]] == ["2.4", "2.3"]


def test_versions_are_ordered_by_number_and_orders_newest_first(line: VersionLine) -> None:
    """1.10 is newer than 1.9."""
    line.on_statuses([pb.ModelVersionStatus(version=name) for name in ("1.9", "1.10", "2.1")])
    for order in ("pin", "unpin"):
        line.on_order(json.dumps({"order": order, "version": "1.9"}).encode())
    assert list(versions(line)) == ["2.1", "1.10", "1.9"]
    assert [one["order"] for one in line.view(0)["orders"]] == ["unpin", "pin"]
