"""A malicious pickle under every name that is accepted, and in every record, runs nothing and is refused in words."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import importlib
import json
import warnings
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from compose.backfill_progress import BackfillProgressError, ProgressFile
from compose.imports.errors import EventsFileError
from compose.imports.rows import UnreadableRow, read_rows
from features.config import ConfigError, load_app_config, load_endpoints
from features.errors import FeaturesError
from features.feature_log_journal import read_segment
from features.quality.config import QualityConfig
from features.quality.memory_file import MemoryFile
from features.quality.window_counts import IdMemory
from features.request_keys import read_request_keys
from features.security.token_records import read_tokens
from serving.announcements import decode_announcement
from serving.avoided_versions import AvoidedVersions
from serving.rules import load_rules
from serving.standing_order import StandingOrderFile
from tests.contracts.pickle_bombs import KINDS, bomb
from tests.fakes import FakeRecord
from tests.serving.serving_parts import APP, make_version
from tests.serving.version_chain import VersionChain, encoded_version
from trainer.batch_log import read_log
from trainer.checkpoint import Checkpoint, CheckpointStore, read_checkpoint
from trainer.errors import TrainerError
from trainer.gate_orders import decode_gate_order
from trainer.learner_state import LearnerState, Progress
from trainer.recorded_batches import read_batches
from trainer.refused_batches import RefusedBatches
from trainer.samples import decode_sample
from trainer.version_delta import decode_delta, encode_delta, split_payload
from trainer.version_files import read_version, write_version

Load = Callable[[], object]
REFUSALS = (TrainerError, FeaturesError, ConfigError, EventsFileError, BackfillProgressError, ValueError)


@pytest.mark.parametrize("kind", ["pickle", "binary", "torch", "numpy", "gzip"])
def test_the_bombs_go_off(kind: str, tmp_path: Path) -> None:
    """Where somebody does unpickle them: else this file would show nothing."""
    marker, path = tmp_path / "marker", tmp_path / "bomb"
    path.write_bytes(data := bomb(kind, marker))
    loads = importlib.import_module("pickle").loads
    load: Load = {
        "pickle": lambda: loads(data),
        "binary": lambda: loads(data),
        "gzip": lambda: loads(gzip.decompress(data)),
        "torch": lambda: getattr(torch, "load")(path, weights_only=False),  # noqa: B009 # The name itself is banned.
        "numpy": lambda: np.load(path, allow_pickle=True),
    }[kind]
    with contextlib.suppress(Exception):  # Some tools are not content with what came out; by then it has happened.
        load()
    assert marker.exists()


def version_file(name: str) -> Callable[[Path, bytes], Load]:
    """A file of a version in the store, with a manifest that vouches for it."""

    def put(folder: Path, data: bytes) -> Load:
        write_version(folder, make_version("1.1"))
        (folder / "1.1" / name).write_bytes(data)
        if name != "manifest.json":
            path = folder / "1.1" / "manifest.json"
            manifest = json.loads(path.read_text())
            manifest["files"][name] |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            path.write_text(json.dumps(manifest))
        return lambda: read_version(folder, "1.1")

    return put


def checkpoint_file(name: str) -> Callable[[Path, bytes], Load]:
    """A file of a trainer's checkpoint, with digests that vouch for it."""

    def put(folder: Path, data: bytes) -> Load:
        state = LearnerState({"rows": np.zeros(3, np.float32)}, {"ids": ["a"]}, Progress(), b"{}")
        directory = CheckpointStore(folder, 3).write(Checkpoint(state, {}, "hash", ""))
        read_checkpoint(directory)
        (directory / name).write_bytes(data)
        header = directory / "checkpoint.json"
        if name.startswith(("arrays", "names")):
            content = json.loads(header.read_text())
            content["sha256"][name] = hashlib.sha256(data).hexdigest()
            header.write_text(json.dumps(content))
        if not name.endswith(".sha256"):
            (directory / "checkpoint.sha256").write_text(hashlib.sha256(header.read_bytes()).hexdigest())
        return lambda: read_checkpoint(directory)

    return put


def refused_batch_file(name: str) -> Callable[[Path, bytes], Load]:
    """A file of a batch that was not learnt."""

    def put(folder: Path, data: bytes) -> Load:
        directory = folder / "000000000001-ranker"
        directory.mkdir()
        (directory / "batch.json").write_text('{"name": "x", "part": "ranker", "step": 1, "reason": "", "runs": []}')
        (directory / name).write_bytes(data)
        return lambda: RefusedBatches(folder).read(directory.name)

    return put


def batch_log(folder: Path, data: bytes) -> Load:
    """A segment of the trainer's batch log."""
    (folder / "0000000000000000.0.log").write_bytes(data)

    def load() -> None:
        content = read_log(folder, 0)
        assert content.entries == []
        raise ValueError(content.damage or f"{content.torn_bytes} torn bytes")

    return load


def one_file(name: str, load: Callable[[Path], object]) -> Callable[[Path, bytes], Load]:
    """A file that stands alone."""

    def put(folder: Path, data: bytes) -> Load:
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o600)
        return lambda: load(folder / name)

    return put


def record(decode: Callable[[bytes], object]) -> Callable[[Path, bytes], Load]:
    """The value of a Kafka record; what tells no reason says with None that it is none of its kind."""

    def put(_folder: Path, data: bytes) -> Load:
        def load() -> None:
            if decode(data) is None:
                raise ValueError("no record of this topic")

        return load

    return put


def delta_tail(folder: Path, data: bytes) -> Load:
    """A delta whose manifest is good."""
    payload = encode_delta(VersionChain(folder, encoded_version("1.1")).next_delta())
    content = split_payload(payload)[1]
    return lambda: decode_delta(payload[: -len(content)] + data)


def _rows(path: Path) -> None:
    def check(names: Collection[str]) -> None:
        if "user_id" not in names:
            raise ValueError(f"no column user_id among {names}; the mapping refuses the file")

    for row in read_rows(path, ("user_id",), check):
        if isinstance(row, UnreadableRow):
            raise ValueError(row.reason)
        check(list(row))


def _progress(path: Path) -> object:
    progress = ProgressFile(path.parent, path.stem, Path("events.jsonl"))
    try:
        return progress.load()
    finally:
        progress.close()


def _announcement(data: bytes) -> object:
    return decode_announcement(FakeRecord("headrace.models.v1", 0, 0, None, data))


ACCEPTED: dict[str, Callable[[Path, bytes], Load]] = {
    **{
        f"version/{name}": version_file(name)
        for name in (
            "manifest.json",
            "items.safetensors",
            "users.safetensors",
            "counts.safetensors",
            "canary.safetensors",
            "dense.safetensors",
        )
    },
    **{
        f"checkpoint/{name}": checkpoint_file(name)
        for name in ("arrays.safetensors", "names.json", "checkpoint.json", "checkpoint.sha256")
    },
    "batch log": batch_log,
    "refused batch/batch.json": refused_batch_file("batch.json"),
    "refused batch/arrays.safetensors": refused_batch_file("arrays.safetensors"),
    "recorded batches": one_file("batches.safetensors", read_batches),
    "id memory": one_file("ids.safetensors", lambda path: MemoryFile(path).read(IdMemory(QualityConfig(), 24.0))),
    "feature log journal": one_file("0000000001-000000000000001.journal", read_segment),
    "standing order": one_file("serving-order.json", lambda path: StandingOrderFile(path).read()),
    "avoided versions": one_file("serving-avoided.json", AvoidedVersions),
    "tokens": one_file("tokens.json", read_tokens),
    "request keys": one_file("request-keys.json", read_request_keys),
    "endpoints": one_file("endpoints.json", load_endpoints),
    "headrace.yaml": one_file("headrace.yaml", load_app_config),
    "rules in headrace.yaml": one_file("headrace.yaml", lambda path: load_rules(path, APP)),
    "backfill progress": one_file("key.json", _progress),
    **{f"events{ending}": one_file(f"events{ending}", _rows) for ending in (".parquet", ".jsonl", ".csv", ".jsonl.gz")},
    "delta": record(decode_delta),
    "delta behind its manifest": delta_tail,
    "sample": record(decode_sample),
    "gate order": record(lambda data: decode_gate_order(data, APP.name)),
    "announcement": record(_announcement),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ACCEPTED)
def test_nothing_runs_and_the_refusal_has_words(
    name: str, kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Raised by the loader as one of its own errors, or logged where the loader goes on without the file."""
    marker, folder = tmp_path / "marker", tmp_path / "accepted"
    folder.mkdir()
    load = ACCEPTED[name](folder, bomb(kind, marker))
    try:
        load()
    except REFUSALS as error:
        # The bare error of a decoder tells nobody which file it is.
        said = "" if isinstance(error, UnicodeDecodeError) else str(error)
    else:
        said = caplog.text
    assert said
    assert not marker.exists()


def test_yaml_that_names_python_objects_makes_none(tmp_path: Path) -> None:
    """Tags of Python are no YAML of ours."""
    path, marker = tmp_path / "headrace.yaml", tmp_path / "marker"
    path.write_text(f"actions: !!python/object/apply:os.mkdir ['{marker}']\n")
    with pytest.raises(ConfigError, match="is not valid YAML"):
        load_app_config(path)
    assert not marker.exists()


def test_parquet_whose_types_are_pickles_makes_none(tmp_path: Path) -> None:
    """Old releases of pyarrow unpickled an extension type's description when they read the schema."""
    path, marker = tmp_path / "events.parquet", tmp_path / "marker"
    tagged = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": bomb("pickle", marker)}
    schema = pa.schema([pa.field("user_id", pa.string(), metadata=tagged)])
    pq.write_table(pa.table({"user_id": ["ada"]}, schema=schema), path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # By which it says that it does so no longer.
        _rows(path)
    assert not marker.exists()
