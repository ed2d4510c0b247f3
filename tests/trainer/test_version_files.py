"""A version is written whole or not at all, and nothing that is not exactly what was written is ever read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.trainer.conftest import make_version
from trainer import version_bytes
from trainer.version_files import (
    ModelVersion,
    Version,
    VersionError,
    list_versions,
    pin_version,
    prune_versions,
    read_version,
    unpin_version,
    write_version,
)

FILES = ("dense", "items", "users", "counts", "canary")


def _reason(store: Path, version: str = "1.0", digest: str | None = None) -> str:
    with pytest.raises(VersionError) as caught:
        read_version(store, version, digest)
    return caught.value.reason


def _rewrite(store: Path, change: Callable[[Version], Version]) -> None:
    """Write a version whose digests are right and whose content is wrong, as a broken writer would."""
    files, manifest = version_bytes.files_and_manifest(change(make_version("1.0")))
    target = store / "1.0"
    target.mkdir(parents=True)
    for name, data in {**files, "manifest.json": manifest}.items():
        (target / name).write_bytes(data)


def test_reading_gives_back_what_was_written(tmp_path: Path) -> None:
    """Ids, tensors and manifest survive; the digest is that of the manifest file."""
    version = make_version("3.7")
    digest = write_version(tmp_path, version)
    actual = read_version(tmp_path, "3.7", digest)
    assert actual.item_ids == version.item_ids
    assert actual.user_ids == version.user_ids
    assert np.array_equal(actual.item_vectors, version.item_vectors)
    assert actual.manifest.canary_scores == version.manifest.canary_scores
    assert digest == hashlib.sha256((tmp_path / "3.7" / "manifest.json").read_bytes()).hexdigest()


def test_empty_catalogue_is_a_legal_version(tmp_path: Path) -> None:
    """The first version of a fresh install knows no item and no user."""
    write_version(tmp_path, make_version("1.0", num_items=0, num_users=0))
    assert read_version(tmp_path, "1.0").item_ids == []


def test_versions_are_never_rewritten(tmp_path: Path) -> None:
    """The same number with other content is refused."""
    write_version(tmp_path, make_version("1.0"))
    with pytest.raises(VersionError, match="never rewritten"):
        write_version(tmp_path, make_version("1.0", seed=2))


def test_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk at the last file leaves neither a version nor a temporary directory."""

    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        write_version(tmp_path, make_version("1.0"))
    assert list(tmp_path.iterdir()) == []


def test_announced_digest_must_match(tmp_path: Path) -> None:
    """A manifest other than the announced one is refused, however consistent it is."""
    write_version(tmp_path, make_version("1.0"))
    assert _reason(tmp_path, digest="0" * 64) == "manifest_digest"


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_is_refused(tmp_path: Path, name: str) -> None:
    """Seeded flips over all files: none is read."""
    write_version(tmp_path, make_version("1.0"))
    path = tmp_path / "1.0" / f"{name}.safetensors"
    original, random = path.read_bytes(), np.random.default_rng(len(name))
    for position in random.integers(8 * len(original), size=40).tolist():
        data = bytearray(original)
        data[position // 8] ^= 1 << (position % 8)
        path.write_bytes(data)
        assert _reason(tmp_path) == "file_digest"


@pytest.mark.parametrize("name", [*[f"{name}.safetensors" for name in FILES], "manifest.json"])
def test_truncated_missing_and_longer_files_are_refused(tmp_path: Path, name: str) -> None:
    """A torn file never loads."""
    digest = write_version(tmp_path, make_version("1.0"))
    path = tmp_path / "1.0" / name
    data = path.read_bytes()
    for content in (b"", data[: len(data) // 2], data[:-1], data + b"\0"):
        path.write_bytes(content)
        assert _reason(tmp_path, digest=digest) in {"file_size", "manifest_digest"}
    path.unlink()
    assert _reason(tmp_path, digest=digest) == "missing"


CONTENT = {
    "nan_weight": (lambda v: replace(v, dense={"w": np.array([np.nan], dtype=np.float32)}), "not_finite"),
    "infinite_vector": (lambda v: replace(v, item_vectors=v.item_vectors * np.float32(np.inf)), "not_finite"),
    "too_few_vectors": (lambda v: replace(v, item_vectors=v.item_vectors[:-1]), "tensor_shape"),
    "other_dim": (lambda v: replace(v, user_embedding=v.user_embedding[:, :-1]), "tensor_shape"),
    "other_dtype": (lambda v: replace(v, totals=v.totals.astype(np.float64)), "tensor_shape"),
    "row_out_of_range": (lambda v: replace(v, neighbours=v.neighbours + 1000), "bad_rows"),
    "repeated_id": (lambda v: replace(v, item_ids=[v.item_ids[0]] * len(v.item_ids)), "ids"),
    "empty_id": (lambda v: replace(v, item_ids=["", *v.item_ids[1:]]), "ids"),
    "long_id": (lambda v: replace(v, item_ids=["x" * 129, *v.item_ids[1:]]), "ids"),
}


@pytest.mark.parametrize("case", CONTENT)
def test_wrong_content_with_right_digests_is_refused(tmp_path: Path, case: str) -> None:
    """Digests prove the copy, not the content: NaN, shapes, rows and ids are checked too."""
    change, reason = CONTENT[case]
    _rewrite(tmp_path, change)
    assert _reason(tmp_path) == reason


def test_manifest_of_another_version_is_refused(tmp_path: Path) -> None:
    """A directory that was renamed by hand does not pass as another version."""
    write_version(tmp_path, make_version("1.0"))
    (tmp_path / "1.0").rename(tmp_path / "1.1")
    assert _reason(tmp_path, "1.1") == "manifest"


def test_manifest_cannot_name_other_paths(tmp_path: Path) -> None:
    """File names come from the layout; one more in the manifest is refused, wherever it points."""
    write_version(tmp_path, make_version("1.0"))
    path = tmp_path / "1.0" / "manifest.json"
    manifest = msgspec.json.decode(path.read_bytes())
    manifest["files"]["../../secret"] = manifest["files"].pop("dense.safetensors")
    path.write_bytes(msgspec.json.encode(manifest))
    assert _reason(tmp_path) == "files"


@pytest.mark.parametrize("text", ["", "1", "1.", "01.2", "1.2.3", "../1.2", "1.2/..", "-1.2", "1.2\n", "a.b"])
def test_only_epoch_dot_seq_is_a_version(text: str) -> None:
    """Paths and look-alikes are no versions."""
    with pytest.raises(VersionError, match="bad_version_name"):
        ModelVersion.parse(text)


def test_versions_compare_by_number() -> None:
    """1.10 is newer than 1.9, and any 2.0 newer than both."""
    assert ModelVersion.parse("1.9") < ModelVersion.parse("1.10") < ModelVersion.parse("2.0")
    assert str(ModelVersion(4, 12)) == "4.12"


def test_pruning_keeps_newest_and_pinned(tmp_path: Path) -> None:
    """Old versions go, unless somebody pinned them; foreign names are left alone."""
    for seq in range(6):
        write_version(tmp_path, make_version(f"1.{seq}"))
    (tmp_path / "notes").mkdir()
    pin_version(tmp_path, "1.1")
    prune_versions(tmp_path, keep_newest=2)
    assert [str(version) for version in list_versions(tmp_path)] == ["1.1", "1.4", "1.5"]
    unpin_version(tmp_path, "1.1")
    prune_versions(tmp_path, keep_newest=2)
    assert [str(version) for version in list_versions(tmp_path)] == ["1.4", "1.5"]
    assert (tmp_path / "notes").is_dir()
