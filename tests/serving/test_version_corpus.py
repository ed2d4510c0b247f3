"""Nothing bad ever serves: damaged, forged, repeated and disordered deltas against a running store.

After each kind of damage the store still serves the last good version, whole, and goes on with the next good delta.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np
import pytest

from serving.announcements import Announcement
from tests.fakes import FakeRecord
from tests.serving.serving_parts import APP, World
from tests.serving.test_delta_following import Chained, chained, check_answers, serves, until, version_of
from tests.serving.version_chain import VersionChain, end_of, put, records_of
from trainer.delta_chunks import TOPIC
from trainer.version_delta import DTYPES, Change, Delta, encode_delta
from trainer.version_manifest import FORMAT

__all__ = ["chained"]

_BATCH = 500


async def survives(world: World, chain: VersionChain, bad: Iterable[bytes]) -> None:
    """Let bad records come, then a good delta: the version before serves until it does, and nothing else."""
    before, swaps, seen = str(chain.version), world.models.records.swaps, set[str]()
    put(world, [*bad, *chain.step()])
    after = str(chain.version)

    def has_swapped() -> bool:
        seen.add(version_of(world))
        return after in seen

    await until(has_swapped)
    await check_answers(world, after)
    assert seen <= {before, after}
    assert world.models.records.swaps == swaps + 1
    with world.broker.changed:  # Nobody reads them again; thousands would fill the memory.
        log = world.broker.logs[TOPIC]
        log[:] = [FakeRecord(TOPIC, 0, offset, None, None) for offset in range(len(log))]


async def test_no_truncation_of_a_record_serves(chained: Chained) -> None:
    """Every length below the whole one."""
    world, chain = chained
    (record,) = records_of(delta := chain.next_delta(), encode_delta(delta))
    step = 1 if len(record) < 40_000 else 7
    for begin in range(0, len(record), _BATCH * step):
        delta = chain.next_delta()
        (record,) = records_of(delta, encode_delta(delta))  # Of one length, up to a few digits.
        lengths = range(begin, min(begin + _BATCH * step, len(record)), step)
        await survives(world, chain, [record[:length] for length in lengths])
    assert set(world.models.records.refused) <= {"no_delta", "delta_digest"}


async def test_no_flipped_bit_serves(chained: Chained) -> None:
    """10,000 seeded flips anywhere in a record, its header and length included."""
    world, chain = chained
    draw = random.Random(20261129)
    for _ in range(10_000 // _BATCH):
        delta = chain.next_delta()
        (record,) = records_of(delta, encode_delta(delta))

        def flipped(record: bytes = record) -> bytes:
            data = bytearray(record)
            # A tenth in header and manifest, which are small against the tensors.
            end = 200 if draw.random() < 0.1 else len(data)
            data[draw.randrange(end)] ^= 1 << draw.randrange(8)
            return bytes(data)

        # A flip in the header that no check reads (the parent, told again in the manifest) leaves a whole delta.
        bad = [each for each in (flipped() for _ in range(_BATCH)) if not _is_whole(each, record)]
        assert len(bad) > _BATCH * 0.9
        await survives(world, chain, bad)
    assert world.models.records.refused["delta_digest"] > 5000
    assert "gap" not in world.models.records.refused


def _is_whole(record: bytes, good: bytes) -> bool:
    """Whether only the header's `parent_sha256` differs, which nothing rests on."""
    size = int.from_bytes(good[:4], "little")
    parent = good[4 : 4 + size].find(b"\x1a\x40")  # Field 3, 64 bytes.
    differs = [place for place, (a, b) in enumerate(zip(record, good, strict=True)) if a != b]
    return all(4 + parent + 2 <= place < 4 + parent + 66 for place in differs)


def _with(delta: Delta, name: str, value: Any, place: int = 0) -> Delta:
    """Put a number into a tensor that changes, or into a dense one."""
    if name in delta.dense:
        dense = {key: tensor.copy() for key, tensor in delta.dense.items()}
        dense[name].reshape(-1)[place] = value
        return dataclasses.replace(delta, dense=dense)
    change = delta.changes[name]
    values = change.values.copy()
    values.reshape(-1)[place] = value
    return dataclasses.replace(delta, changes={**delta.changes, name: Change(change.places, values)})


def _manifest(delta: Delta, **changes: Any) -> Delta:
    return dataclasses.replace(delta, manifest=msgspec.structs.replace(delta.manifest, **changes))


def _moved(delta: Delta, name: str, places: list[int]) -> Delta:
    change = delta.changes[name]
    moved = Change(np.array(places), np.resize(change.values, (len(places), *change.values.shape[1:])))
    return dataclasses.replace(delta, changes={**delta.changes, name: moved})


def _retyped(delta: Delta, name: str, dtype: type) -> Delta:
    change = delta.changes[name]
    retyped = Change(change.places, change.values.astype(dtype))
    return dataclasses.replace(delta, changes={**delta.changes, name: retyped})


FORGED: dict[str, tuple[Callable[[Delta], Delta], str]] = {
    "NaN in dense weights": (lambda delta: _with(delta, "ranker.bias", np.nan), "not_finite"),
    "infinity in dense weights": (lambda delta: _with(delta, "ranker.linear.weight", np.inf), "not_finite"),
    "NaN in an item's vector": (lambda delta: _with(delta, "item_vectors", np.nan, 9), "not_finite"),
    "NaN in a user's row": (lambda delta: _with(delta, "user_embedding", np.nan), "not_finite"),
    "NaN in counts": (lambda delta: _with(delta, "totals", np.nan), "not_finite"),
    "a canary score that is NaN": (
        lambda delta: _manifest(delta, canary_scores=(np.nan, *delta.manifest.canary_scores[1:])),
        "manifest",
    ),
    "other scores than the canary's": (
        lambda delta: _manifest(delta, canary_scores=tuple(score + 0.1 for score in delta.manifest.canary_scores)),
        "canary",
    ),
    "other weights than the canary's": (lambda delta: _with(delta, "ranker.bias", 77.0), "canary"),
    "weights that overflow": (lambda delta: _with(delta, "ranker.linear.weight", 3e38, 5), "canary"),
    "too few canary scores": (
        lambda delta: _manifest(delta, canary_scores=delta.manifest.canary_scores[1:]),
        "tensor_shape",
    ),
    "another schema": (lambda delta: _manifest(delta, feature_schema_hash="0" * 16), "feature_schema"),
    "another format": (lambda delta: delta, "format"),
    "another model": (lambda delta: _manifest(delta, name="another"), "manifest"),
    "a dense tensor too few": (
        lambda delta: dataclasses.replace(
            delta, dense={name: tensor for name, tensor in delta.dense.items() if name != "ranker.bias"}
        ),
        "dense_tensors",
    ),
    "a dense tensor too many": (
        lambda delta: dataclasses.replace(delta, dense={**delta.dense, "odd": np.zeros(1, dtype=np.float32)}),
        "dense_tensors",
    ),
    "a dense tensor of another shape": (
        lambda delta: dataclasses.replace(delta, dense={**delta.dense, "ranker.bias": np.zeros(2, dtype=np.float32)}),
        "dense_tensors",
    ),
    "float64 in place of float32": (lambda delta: _retyped(delta, "item_vectors", np.float64), "tensor_shape"),
    "rows behind the last item": (lambda delta: _moved(delta, "item_vectors", [10_000]), "bad_rows"),
    "numbers behind the last pair": (lambda delta: _moved(delta, "weights", [10**9]), "bad_rows"),
    "places that fall": (lambda delta: _moved(delta, "item_vectors", [5, 4]), "tensor_shape"),
    "a place twice": (lambda delta: _moved(delta, "weights", [1, 1]), "tensor_shape"),
    "a place below zero": (lambda delta: _moved(delta, "weights", [-1, 1]), "tensor_shape"),
    "an item that is here": (lambda delta: dataclasses.replace(delta, item_ids=["item-003"]), "ids"),
    "more items than it names": (
        lambda delta: _manifest(delta, num_items=delta.manifest.num_items + 1),
        "ids",
    ),
    "more users than it names": (
        lambda delta: _manifest(delta, num_users=delta.manifest.num_users + 1),
        "ids",
    ),
    "users below zero": (lambda delta: _manifest(delta, num_users=-3), "ids"),
    "a user that is here": (
        lambda delta: dataclasses.replace(delta, user_rows=np.array([1]), user_ids=["ann"]),
        "ids",
    ),
    "a pair with no item": (
        lambda delta: dataclasses.replace(
            delta,
            changes={**delta.changes, "neighbours": Change(np.array([0]), np.array([10_000], dtype=np.int32))},
        ),
        "bad_rows",
    ),
    "a word beyond the buckets": (lambda delta: _with(delta, "title_tokens", 1 << 16), "bad_rows"),
}
"""What is wrong, how to make it of a good delta, and the reason by which it must be refused."""


@pytest.mark.parametrize("kind", FORGED)
async def test_no_forged_delta_serves(chained: Chained, kind: str) -> None:
    """Its digest is right, its content is not: refused by name, and the chain goes on with the good one."""
    world, chain = chained
    make, reason = FORGED[kind]
    delta = make(chain.next_delta())
    payload = encode_delta(delta)
    if kind == "another format":
        payload = payload.replace(b'"format":%d' % FORMAT, b'"format":%d' % (FORMAT - 1))
    await survives(world, chain, records_of(delta, payload))
    assert world.models.records.refused == {reason: 1}


async def test_every_tensor_must_have_its_own_type(chained: Chained) -> None:
    """A tensor of a type that numpy would quietly cast is refused, whichever it is."""
    world, chain = chained
    for name in DTYPES:
        delta = chain.next_delta()
        if name not in delta.changes:
            continue
        wrong = _retyped(delta, name, np.int16)
        await survives(world, chain, records_of(wrong, encode_delta(wrong)))


async def test_repeated_deltas_change_nothing(chained: Chained) -> None:
    """All of the chain again, and the newest ten times: passed over."""
    world, chain = chained
    sent = [chain.step() for _ in range(5)]
    for records in sent:
        put(world, records)
    await serves(world, "1.6")
    await survives(world, chain, [record for records in [*sent, *[sent[-1]] * 10] for record in records])
    assert world.models.records.refused == {}
    assert world.models.stats.deltas_skipped == 15


async def test_disordered_deltas_wait_for_a_snapshot(chained: Chained) -> None:
    """A delta before the one it changes is a gap: what came last in order serves until a snapshot is behind it."""
    world, chain = chained
    first, second, third = (chain.step() for _ in range(3))
    put(world, [*first, *third, *second])
    await until(lambda: "gap" in world.models.records.refused)
    assert version_of(world) in ("1.1", "1.2")
    version, digest = chain.write_snapshot(end_of(world))
    world.models.announce([Announcement(APP.name, version, digest)])
    await serves(world, "1.4")
    await survives(world, chain, [])
    assert version_of(world) == "1.5"


async def test_chunks_of_two_deltas_mixed_up_serve_neither(chained: Chained, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of one delta, cut by another's, are dropped; the next whole delta of the chain serves."""
    monkeypatch.setattr("trainer.delta_chunks.CHUNK_BYTES", 4096)
    world, chain = chained
    delta = chain.next_delta()
    one = records_of(delta, encode_delta(delta))
    other = records_of(delta, encode_delta(_manifest(delta, created_time_ms=1)))
    assert len(one) > 3
    mixed = [record for pair in zip(one, other, strict=True) for record in pair]
    await survives(world, chain, [*mixed, *one[1:], *one[:-1], *reversed(one)])
