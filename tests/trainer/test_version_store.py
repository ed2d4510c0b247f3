"""Laws of every kind of model store: versions are there whole or not at all, and read only when proven."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compose.ports import HOST
from features.config import ConfigError
from features.model_store_config import ModelStoreConfig
from tests.store_places import (
    ACCESS_KEY,
    KINDS,
    NAME,
    SECRET_KEY,
    Place,
    S3Server,
    local_place,
    memory_place,
    running_s3_server,
    s3_place,
)
from tests.trainer.conftest import make_version
from trainer.object_versions import ObjectVersions
from trainer.version_files import StoreError, VersionBytes, VersionError, encode_version, open_versions

FILES = ("dense", "items", "users", "counts", "canary")


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    """A real S3 protocol on a port."""
    with running_s3_server() as server:
        yield server


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty store of each kind."""
    if request.param == "local":
        return local_place(tmp_path / "models")
    return memory_place() if request.param == "memory" else s3_place(request.getfixturevalue("s3_server"))


@pytest.fixture(params=KINDS[1:])
def remote(request: pytest.FixtureRequest) -> Place:
    """An empty store of each kind that has no rename."""
    return memory_place() if request.param == "memory" else s3_place(request.getfixturevalue("s3_server"))


def put(place: Place, *names: str) -> VersionBytes:
    """Write versions; return the last one's bytes."""
    for name in names:
        encoded = encode_version(make_version(name))
        place.store.put(encoded)
    return encoded


def reason_of(call: Callable[[], Any]) -> str:
    """Return why a version is refused."""
    with pytest.raises(VersionError) as caught:
        call()
    return caught.value.reason


def test_reading_gives_back_what_was_put(place: Place) -> None:
    """Under the announced digest, tensor for tensor, and without the digest too."""
    encoded = put(place, "3.7")
    for digest in (encoded.digest, None):
        actual = place.store.read("3.7", digest)
        np.testing.assert_array_equal(actual.item_vectors, make_version("3.7").item_vectors)
    assert (actual.manifest_sha256, place.store.manifest("3.7")) == (encoded.digest, actual.manifest)
    assert place.store.fetch("3.7", encoded.digest) == encoded


def test_an_empty_store_has_no_versions(place: Place) -> None:
    """Nothing is listed, and nothing can be read."""
    assert (place.store.versions(), place.store.pinned()) == ([], [])
    assert {reason_of(lambda: place.store.read("1.0")), reason_of(lambda: place.store.manifest("1.0"))} == {"missing"}


def test_versions_are_listed_by_number(place: Place) -> None:
    """1.10 comes behind 1.9, and names that are no versions are passed over."""
    put(place, "2.0", "1.10", "1.9")
    place.write(f"{place.root}/manifests/notes.json", b"{}")
    assert [str(version) for version in place.store.versions()] == ["1.9", "1.10", "2.0"]


def test_a_number_is_never_given_twice(place: Place) -> None:
    """Other content under the same number is refused, and what was there stays."""
    first = put(place, "1.0")
    assert reason_of(lambda: place.store.put(encode_version(make_version("1.0", seed=2)))) == "exists"
    assert place.store.read("1.0").manifest_sha256 == first.digest


def test_another_digest_than_announced_is_refused(place: Place) -> None:
    """However consistent the version is."""
    put(place, "1.0")
    assert reason_of(lambda: place.store.read("1.0", "0" * 64)) == "manifest_digest"


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_changed_is_refused(place: Place, name: str) -> None:
    """Flipped, cut, lengthened, emptied or gone: none of it is read."""
    encoded = put(place, "1.0")
    path, data = place.path("1.0", f"{name}.safetensors"), encoded.files[f"{name}.safetensors"]
    flipped = data[:-1] + bytes([data[-1] ^ 1])
    for content in (flipped, data[:-1], data + b"\0", b""):
        place.write(path, content)
        assert reason_of(lambda: place.store.read("1.0", encoded.digest)) in {"file_digest", "file_size"}
    place.filesystem.rm_file(path)
    assert reason_of(lambda: place.store.read("1.0", encoded.digest)) == "missing"


def test_a_torn_manifest_is_refused(place: Place) -> None:
    """With the announced digest and without it."""
    encoded = put(place, "1.0")
    path = place.path("1.0", ".json")
    for content in (b"", encoded.manifest[:-9], encoded.manifest[: len(encoded.manifest) // 2]):
        place.write(path, content)
        assert reason_of(lambda: place.store.read("1.0", encoded.digest)) in {"manifest_digest", "manifest"}
        assert reason_of(lambda: place.store.read("1.0")) == "manifest"


def test_pruning_keeps_the_newest_the_pinned_and_the_good_one(place: Place) -> None:
    """All that belongs to the others goes; what is unpinned, or is no longer the good one, goes the next time."""
    put(place, *(f"1.{seq}" for seq in range(6)))
    place.store.pin("1.1")
    place.store.note_good("1.2")
    assert [str(version) for version in place.store.prune(2)] == ["1.0", "1.3"]
    assert (place.store.pinned(), place.paths("1.0")) == ([(1, 1)], [])
    place.store.unpin("1.1")
    place.store.unpin("1.1")
    place.store.note_good("1.5")
    place.store.prune(2)
    assert [str(version) for version in place.store.versions()] == ["1.4", "1.5"]


def test_the_same_version_may_come_twice(remote: Place) -> None:
    """Where the answer to the first try was lost."""
    encoded = put(remote, "1.0")
    remote.store.put(encoded)
    assert remote.store.read("1.0", encoded.digest).manifest_sha256 == encoded.digest


def test_writers_that_took_each_other_for_dead_do_not_mix(remote: Place) -> None:
    """Two of one number at once: the announced one is read, and none without its digest."""
    both = [encode_version(make_version("1.0", seed=seed)) for seed in (1, 2)]
    put_blindly(remote, both[0])
    put_blindly(remote, both[1])
    for encoded in both:
        assert remote.store.read("1.0", encoded.digest).manifest_sha256 == encoded.digest
    assert reason_of(lambda: remote.store.read("1.0")) == "ambiguous"


def put_blindly(place: Place, encoded: VersionBytes) -> None:
    """Write as one who listed the store before the other wrote."""
    store = ObjectVersions(place.filesystem, place.root, "blind")
    store._digests = dict  # type: ignore[method-assign]
    store.put(encoded)


class FailingFiles:
    """A file system whose calls fail from the nth write on, as a killed writer's do.

    Args:
        files: the real one.
        writes: that are still done.
    """

    def __init__(self, files: Any, writes: int) -> None:
        self._files = files
        self._writes = writes
        self.is_short = False
        """Whether the last write arrives without its end, and says nothing of it."""

    def pipe_file(self, path: str, data: bytes) -> None:
        """Write one file, or fail."""
        self._writes -= 1
        if self._writes < 0:
            if not self.is_short:
                raise TimeoutError(f"no answer; key {SECRET_KEY}")
            data = data[:-1]
        self._files.pipe_file(path, data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)


@pytest.mark.parametrize("writes", range(6))
@pytest.mark.parametrize("is_short", [False, True], ids=["cut off", "partly there"])
def test_a_write_that_ends_anywhere_shows_nothing(remote: Place, writes: int, is_short: bool) -> None:
    """After each file: no version is seen; cleaning leaves nothing; the next try succeeds."""
    put(remote, "1.0")
    before = remote.paths()
    files = FailingFiles(remote.filesystem, writes)
    files.is_short = is_short and writes < len(FILES)
    store = ObjectVersions(files, remote.root, "s3://models")
    encoded = encode_version(make_version("1.1"))
    assert reason_of(lambda: store.put(encoded)) == "store_unreachable"
    assert [str(version) for version in remote.store.versions()] == ["1.0"]
    remote.store.clean()
    assert remote.paths() == before
    remote.store.put(encoded)
    assert remote.store.read("1.1", encoded.digest).manifest_sha256 == encoded.digest


def test_credentials_are_in_no_error(remote: Place) -> None:
    """Neither in the sentence nor in what the store is called."""
    files = FailingFiles(remote.filesystem, 0)
    store = ObjectVersions(files, remote.root, "s3://models", lambda text: text.replace(SECRET_KEY, "***"))
    with pytest.raises(StoreError, match=r"no answer; key \*\*\*") as caught:
        store.pin("1.0")
    assert SECRET_KEY not in str(caught.value)


class RefusingFiles(FailingFiles):
    """A file system on which everything is forbidden."""

    def ls(self, path: str, detail: bool = True) -> list[str]:
        """Refuse."""
        raise PermissionError("Access Denied")


def test_a_store_that_refuses_is_told_from_one_that_is_away(remote: Place) -> None:
    """The first names the credentials as what to mend."""
    store = ObjectVersions(RefusingFiles(remote.filesystem, 0), remote.root, "s3://models")
    with pytest.raises(StoreError, match=r"Access Denied.*check its credentials") as caught:
        store.versions()
    assert caught.value.reason == "store_denied"


def test_a_bucket_that_is_missing_is_a_sentence(s3_server: S3Server) -> None:
    """It looks empty to readers, and a writer is told."""
    store = open_versions("s3://no-such-bucket/a", NAME, s3_server.config)
    assert store.versions() == []
    with pytest.raises(StoreError, match="bucket does not exist"):
        store.put(encode_version(make_version("1.0")))


def test_a_server_that_is_down_is_a_sentence(s3_server: S3Server) -> None:
    """Within seconds, and without the keys."""
    config = s3_server.config.model_copy(update={"endpoint_url": "http://127.0.0.1:1"})
    with pytest.raises(StoreError, match=r"cannot list s3://models/a/test \(EndpointConnectionError") as caught:
        open_versions("s3://models/a", NAME, config).versions()
    assert not {ACCESS_KEY, SECRET_KEY} & set(str(caught.value).split())


def test_a_server_that_says_nothing_is_given_up(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the request, and no byte comes back."""
    monkeypatch.setattr("trainer.version_store._READ_S", 0.1)
    with socket.socket() as mute:
        mute.bind((HOST, 0))
        mute.listen()
        config = s3_server.config.model_copy(update={"endpoint_url": f"http://{HOST}:{mute.getsockname()[1]}"})
        with pytest.raises(StoreError, match=r"cannot list s3://models/a/test \(.*[Tt]imeout"):
            open_versions("s3://models/a", NAME, config).versions()


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Value and mend in one sentence."""

    def refuse(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("trainer.version_store.importlib.import_module", refuse)
    with pytest.raises(ConfigError, match=r"s3://models/a needs the S3 driver.*headrace\[s3\]"):
        open_versions("s3://models/a", NAME, ModelStoreConfig())


def test_an_address_that_is_none_is_a_sentence() -> None:
    """The endpoints file may hold one too."""
    with pytest.raises(ConfigError, match=r"model_store\.uri: 'ftp://host/models' is of a kind that is not known"):
        open_versions("ftp://host/models", NAME)


def test_a_version_knows_its_size() -> None:
    """All tensor files, without the manifest."""
    encoded = encode_version(make_version("1.0"))
    assert dataclasses.replace(encoded, manifest=b"").size == encoded.size == sum(map(len, encoded.files.values()))
