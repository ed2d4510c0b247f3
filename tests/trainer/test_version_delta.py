"""Deltas: encoded, cut into records, joined, applied; whatever is not what was sent changes nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.trainer.conftest import make_version
from trainer.delta_chunks import CHUNK_BYTES, ChunkJoiner, chunk_records, first_chunk_manifest
from trainer.errors import VersionError
from trainer.version_delta import DTYPES, Change, Delta, decode_delta, digest_of, encode_delta
from trainer.version_image import VersionImage


def image_of(seed: int = 1) -> VersionImage:
    """Image of."""
    return VersionImage(dataclasses.replace(make_version("1.0", seed=seed), manifest_sha256="opening"))


def make_delta(image: VersionImage, version: str = "1.1", **others: Any) -> Delta:
    """One item and one user more, a few numbers changed."""
    num_items, num_users = image.num_items + 1, image.num_users + 1
    manifest = msgspec.structs.replace(
        image.manifest,
        version=version,
        parent_version=image.manifest.version,
        parent_sha256=image.digest,
        num_items=num_items,
        num_users=num_users,
    )
    delta = Delta(
        manifest=manifest,
        dense={name: tensor + np.float32(1.0) for name, tensor in image.dense.items()},
        canary_inputs=image.canary_inputs * np.float32(2.0),
        item_ids=[f"new-{num_items}"],
        user_rows=np.array([0, num_users - 1]),
        user_ids=["moved", f"user-new-{num_users}"],
        changes={
            "item_vectors": Change(np.array([1, num_items - 1]), np.ones((2, 4), dtype=np.float32)),
            "user_embedding": Change(np.array([0, num_users - 1]), np.full((2, 4), 3.0, dtype=np.float32)),
            "neighbours": Change(np.array([3]), np.array([num_items - 1], dtype=np.int32)),
            "weights": Change(np.array([3, 2 * num_items - 1]), np.array([7.0, 8.0], dtype=np.float32)),
            "totals": Change(np.array([2]), np.array([5.0], dtype=np.float32)),
            "seen_ms": Change(np.array([num_items - 1]), np.array([[1, 2]])),
        },
    )
    return dataclasses.replace(delta, **others)


def state_of(image: VersionImage) -> dict[str, Any]:
    """State of."""
    arrays: dict[str, NDArray[Any]] = {name: image.tensor(name).copy() for name in DTYPES}
    return {**arrays, **image.dense, "items": image.item_ids[:], "users": image.user_ids[:], "digest": image.digest}


def assert_same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Assert same."""
    for name, content in wanted.items():
        np.testing.assert_array_equal(found[name], content, err_msg=name)


def test_a_decoded_delta_gives_the_next_version() -> None:
    """A decoded delta gives the next version."""
    image = image_of()
    before = state_of(image)
    payload = encode_delta(make_delta(image))
    image.apply(decode_delta(payload), digest_of(payload))
    assert (image.num_items, image.num_users, image.digest) == (6, 4, digest_of(payload))
    assert image.item_ids[-1] == "new-6"
    assert image.user_ids[0] == "moved"
    assert image.tensor("neighbours").shape == (6, 2)
    assert image.tensor("neighbours")[1, 1] == 5
    assert image.tensor("neighbours")[5].tolist() == [-1, -1]
    assert image.tensor("weights")[5].tolist() == [0.0, 8.0]
    np.testing.assert_array_equal(image.tensor("item_vectors")[[0, 2, 3, 4]], before["item_vectors"][[0, 2, 3, 4]])
    np.testing.assert_array_equal(image.dense["w"], before["w"] + 1)


def test_two_images_that_follow_the_same_chain_are_equal() -> None:
    """Two images that follow the same chain are equal."""
    one, other = image_of(), image_of()
    for version in ("1.1", "1.2", "1.3"):
        payload = encode_delta(make_delta(one, version))
        for image in (one, other):
            image.apply(decode_delta(payload), digest_of(payload))
    assert_same(state_of(other), state_of(one))


def test_fewer_users_leave_their_rows() -> None:
    """Fewer users leave their rows."""
    image = image_of()
    delta = make_delta(image, user_rows=np.zeros(0, dtype=np.int64), user_ids=[], changes={})
    manifest = msgspec.structs.replace(delta.manifest, num_users=2)
    image.apply(dataclasses.replace(delta, manifest=manifest), "d")
    assert image.user_ids == ["user-0", "user-1"]
    assert len(image.tensor("user_embedding")) == 2


def test_a_delta_of_another_parent_is_a_gap() -> None:
    """A delta of another parent is a gap."""
    image = image_of()
    delta = make_delta(image)
    image.apply(delta, "first")
    with pytest.raises(VersionError) as caught:
        image.apply(delta, "again")
    assert caught.value.reason == "gap"


BAD_CHANGES: dict[str, tuple[str, Change]] = {
    "place_beyond": ("totals", Change(np.array([6]), np.ones(1, dtype=np.float32))),
    "row_beyond": ("item_vectors", Change(np.array([6]), np.ones((1, 4), dtype=np.float32))),
    "wide_row": ("item_vectors", Change(np.array([1]), np.ones((1, 5), dtype=np.float32))),
    "neighbour_beyond": ("neighbours", Change(np.array([1]), np.array([6], dtype=np.int32))),
    "neighbour_below": ("neighbours", Change(np.array([1]), np.array([-2], dtype=np.int32))),
    "token_beyond": ("title_tokens", Change(np.array([1]), np.full((1, 16), 1 << 16, dtype=np.int32))),
}


@pytest.mark.parametrize("case", BAD_CHANGES)
def test_a_change_that_does_not_fit_changes_nothing(case: str) -> None:
    """A change that does not fit changes nothing."""
    image = image_of()
    before = state_of(image)
    name, change = BAD_CHANGES[case]
    with pytest.raises(VersionError):
        image.apply(make_delta(image, changes={"weights": make_delta(image).changes["weights"], name: change}), "d")
    assert_same(state_of(image), before)


@pytest.mark.parametrize(
    "others",
    [
        {"dense": {"w": np.ones((3, 3), dtype=np.float32)}},
        {"item_ids": []},
        {"user_rows": np.array([0]), "user_ids": ["x"]},
        {"user_rows": np.array([3, 4]), "user_ids": ["x", "y"]},
        {"canary_inputs": np.ones((2, 7), dtype=np.float32)},
    ],
    ids=["dense", "item_ids", "unnamed_user", "user_beyond", "canary"],
)
def test_a_misshapen_delta_changes_nothing(others: dict[str, Any]) -> None:
    """A misshapen delta changes nothing."""
    image = image_of()
    before = state_of(image)
    with pytest.raises(VersionError):
        image.apply(make_delta(image, **others), "d")
    assert_same(state_of(image), before)


@pytest.mark.parametrize(
    "others",
    [
        {"dense": {"w": np.full((3, 2), np.nan, dtype=np.float32)}},
        {"changes": {"totals": Change(np.array([1]), np.array([np.inf], dtype=np.float32))}},
        {"changes": {"totals": Change(np.array([1]), np.array([1.0]))}},
        {"changes": {"totals": Change(np.array([1, 1]), np.ones(2, dtype=np.float32))}},
        {"changes": {"totals": Change(np.array([-1]), np.ones(1, dtype=np.float32))}},
        {"changes": {"totals": Change(np.array([1, 2]), np.ones(1, dtype=np.float32))}},
        {"user_rows": np.array([3, 0])},
    ],
    ids=["nan", "inf", "float64", "twice", "negative", "length", "unsorted"],
)
def test_decoding_refuses_what_no_image_could_take(others: dict[str, Any]) -> None:
    """Decoding refuses what no image could take."""
    with pytest.raises(VersionError):
        decode_delta(encode_delta(make_delta(image_of(), **others)))


def test_a_large_payload_is_cut_and_joined() -> None:
    """A large payload is cut and joined."""
    payload = np.random.default_rng(1).bytes(3 * CHUNK_BYTES - 7)
    records = chunk_records("m", "1.1", "p", payload)
    assert len(records) == 3
    assert max(map(len, records)) < 512 * 1024
    joiner = ChunkJoiner("m")
    joined = [joiner.add(record) for record in records]
    assert joined[:2] == [None, None]
    assert joined[2] == ("1.1", digest_of(payload), payload)


def test_a_joiner_that_began_in_the_middle_waits_for_a_first_chunk() -> None:
    """A joiner that began in the middle waits for a first chunk."""
    first, second = (chunk_records("m", f"1.{n}", "", bytes([n]) * (CHUNK_BYTES + 1)) for n in (1, 2))
    joiner = ChunkJoiner("m")
    assert [joiner.add(record) for record in (first[1], second[0])] == [None, None]
    assert joiner.add(first[1]) is None, "a chunk of another delta must not complete this one"
    assert joiner.add(second[1]) is None
    assert [joiner.add(record) is None for record in second] == [True, False]


def test_the_first_chunk_tells_what_the_delta_is() -> None:
    """Whoever only wants to know which samples a version covers need not join its chunks."""
    delta = make_delta(image_of())
    payload = encode_delta(delta) + bytes(CHUNK_BYTES)
    first, second = chunk_records("test", "1.1", "p", payload)
    assert first_chunk_manifest(first) == delta.manifest
    assert first_chunk_manifest(second) is None


def test_deltas_of_other_models_are_passed_over() -> None:
    """Deltas of other models are passed over."""
    assert ChunkJoiner("m").add(chunk_records("other", "1.1", "", b"x")[0]) is None


def test_no_truncation_and_no_flipped_bit_passes() -> None:
    """No truncation and no flipped bit passes."""
    image = image_of()
    payload = encode_delta(make_delta(image))
    record = chunk_records("test", "1.1", image.digest, payload)[0]
    random = np.random.default_rng(5)
    spoilt = [record[:size] for size in range(len(record))]
    for position in random.integers(len(record) * 8, size=2000).tolist():
        flipped = bytearray(record)
        flipped[position // 8] ^= 1 << position % 8
        spoilt.append(bytes(flipped))
    passed = 0
    for value in spoilt:
        try:
            joined = ChunkJoiner("test").add(value)
            if joined is not None:
                image_of().apply(decode_delta(joined.payload), joined.digest)
                passed += joined.payload != payload
        except VersionError:
            continue
    assert passed == 0
