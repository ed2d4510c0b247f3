"""Versions in an object store, which has no rename: files under a name made of the manifest's digest, that one last.

    NAME/files/EPOCH.SEQ.DIGEST/*.safetensors     written first, seen by nobody
    NAME/manifests/EPOCH.SEQ.DIGEST.json          written last: the version is there
    NAME/pins/EPOCH.SEQ                           kept on purpose
    NAME/last_good                                the newest that its gate let pass

A version that goes loses its manifest first. What a writer left unfinished has no manifest and goes with the next
pruning. Two writers of one number, of which one was taken for dead, do not disturb each other: their digests differ.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

from trainer.errors import StoreError, VersionError
from trainer.model_version import MANIFEST_NAME, PINS_NAME, ModelVersion, version_names
from trainer.version_bytes import FILE_NAMES, VersionBytes, decode_version
from trainer.version_manifest import MANIFEST_BYTES_LIMIT, Manifest, decode_manifest
from trainer.version_tensors import Version

_MANIFEST = re.compile(r"(\d+\.\d+)\.([0-9a-f]{64})\.json")
_LAST_GOOD = "last_good"
_TOLD = 300
"""Characters of a driver's error that are told."""


class ObjectVersions:
    """The versions of one model below a prefix; see `VersionStore`.

    Args:
        filesystem: of fsspec; must not remember listings.
        root: where, as the file system names it.
        uri: where, for people: without credentials.
        hide: takes credentials out of a text.
    """

    is_remote = True

    def __init__(self, filesystem: Any, root: str, uri: str, hide: Callable[[str], str] = str) -> None:
        self.uri = uri
        self._filesystem = filesystem
        self._root = root
        self._hide = hide
        self._manifests: dict[str, Manifest] = {}
        """By digest: what a manifest says never changes."""

    def put(self, version: VersionBytes) -> None:
        """See `VersionStore`; the same version once more is fine, for an answer may have been lost.

        Raises:
            VersionError: another version has this number.
            StoreError: the store does not take it; nothing is visible then.
        """
        there = self._digests().get(ModelVersion.parse(version.version), [])
        if there and version.digest not in there:
            raise VersionError("exists", f"another version {version.version} is in {self.uri}; none is ever rewritten")
        with self._asking(f"write version {version.version} to"):
            directory = self._files(version.version, version.digest)
            for name, data in version.files.items():
                self._filesystem.pipe_file(f"{directory}/{name}", data)
            self._check_sizes(version, directory)
            self._filesystem.pipe_file(self._manifest_path(version.version, version.digest), version.manifest)

    def versions(self) -> list[ModelVersion]:
        """See `VersionStore`.

        Raises:
            StoreError: the store does not answer.
        """
        return sorted(self._digests())

    def read(self, version: str, expected_sha256: str | None = None) -> Version:
        """See `VersionStore`.

        Raises:
            VersionError: it is missing, or not as its manifest says.
            StoreError: the store does not answer.
        """
        raw = self.fetch(version, expected_sha256)
        return decode_version(version, raw.read_file, expected_sha256)

    def fetch(self, version: str, expected_sha256: str | None = None) -> VersionBytes:
        """Return the bytes of a version, not proven yet.

        Args:
            version: `EPOCH.SEQ`.
            expected_sha256: the announced digest; needed only where two writers wrote this number.

        Raises:
            VersionError: a part is missing, or larger than its manifest says.
            StoreError: the store does not answer.
        """
        digest = self._digest_of(version, expected_sha256)
        manifest = self._get(self._manifest_path(version, digest), MANIFEST_BYTES_LIMIT, f"{version}/{MANIFEST_NAME}")
        entries = decode_manifest(manifest, version, FILE_NAMES).files
        directory = self._files(version, digest)
        files = {
            name: self._get(f"{directory}/{name}", entries[name].bytes, f"{version}/{name}") for name in FILE_NAMES
        }
        return VersionBytes(version, files, manifest)

    def manifest(self, version: str) -> Manifest:
        """See `VersionStore`.

        Raises:
            VersionError: it is missing or cannot be read.
            StoreError: the store does not answer.
        """
        digest = self._digest_of(version, None)
        if digest not in self._manifests:
            raw = self._get(self._manifest_path(version, digest), MANIFEST_BYTES_LIMIT, f"{version}/{MANIFEST_NAME}")
            self._manifests[digest] = decode_manifest(raw, version, FILE_NAMES)
        return self._manifests[digest]

    def pin(self, version: str) -> None:
        """See `VersionStore`.

        Raises:
            StoreError: the store does not take the mark.
        """
        with self._asking(f"pin {version} in"):
            self._filesystem.pipe_file(self._pin_path(version), b"pinned\n")

    def unpin(self, version: str) -> None:
        """See `VersionStore`.

        Raises:
            StoreError: the store does not let go of the mark.
        """
        with self._asking(f"unpin {version} in"), contextlib.suppress(FileNotFoundError):
            self._filesystem.rm_file(self._pin_path(version))

    def pinned(self) -> list[ModelVersion]:
        """See `VersionStore`.

        Raises:
            StoreError: the store does not answer.
        """
        return version_names(self._names(PINS_NAME))

    def note_good(self, version: str) -> None:
        """See `VersionStore`.

        Raises:
            StoreError: the store does not take the mark.
        """
        with self._asking(f"mark {version} in"):
            self._filesystem.pipe_file(f"{self._root}/{_LAST_GOOD}", str(ModelVersion.parse(version)).encode())

    def prune(self, keep_newest: int, keep: Collection[ModelVersion] = ()) -> list[ModelVersion]:
        """See `VersionStore`.

        Raises:
            StoreError: the store does not answer, or lets nothing go.
        """
        digests = self._digests()
        newest = sorted(digests)[-max(1, keep_newest) :]
        kept = {*newest, *keep, *self.pinned(), *self._last_good()}
        deleted = [version for version in sorted(digests) if version not in kept]
        for version in deleted:
            for digest in digests[version]:
                with self._asking(f"delete version {version} from"):
                    self._filesystem.rm_file(self._manifest_path(str(version), digest))
                self._delete(self._files(str(version), digest))
                self._manifests.pop(digest, None)
        return deleted

    def clean(self) -> None:
        """See `VersionStore`.

        Raises:
            StoreError: the store does not answer, or lets nothing go.
        """
        found = self._names("files")  # First: what another writer finishes meanwhile has its manifest below.
        whole = {f"{version}.{digest}" for version, digests in self._digests().items() for digest in digests}
        for name in found:
            if name not in whole:
                self._delete(f"{self._root}/files/{name}")

    def _check_sizes(self, version: VersionBytes, directory: str) -> None:
        """Have a file that arrived short noticed here, while no manifest promises it."""
        listed = {_base(found["name"]): found["size"] for found in self._filesystem.ls(directory, detail=True)}
        for name, data in version.files.items():
            if listed.get(name) != len(data):
                raise OSError(f"{name} has {listed.get(name)} bytes there, {len(data)} were sent")

    def _digest_of(self, version: str, expected_sha256: str | None) -> str:
        digests = self._digests().get(ModelVersion.parse(version), [])
        if not digests:
            raise VersionError("missing", f"{self.uri} has no version {version}")
        if expected_sha256 in digests:
            return str(expected_sha256)
        if expected_sha256 is not None:
            raise VersionError("manifest_digest", f"{version} has sha256 {digests[0]}, announced was another")
        if len(digests) > 1:
            raise VersionError("ambiguous", f"{self.uri} has {len(digests)} versions {version}; announced is neither")
        return digests[0]

    def _digests(self) -> dict[ModelVersion, list[str]]:
        """Return the digests that each number has manifests of: one, but for writers that took each other for dead."""
        found: dict[ModelVersion, list[str]] = {}
        for name in self._names("manifests"):
            match = _MANIFEST.fullmatch(name)
            if match is not None:
                for version in version_names([match[1]]):
                    found.setdefault(version, []).append(match[2])
        return found

    def _last_good(self) -> list[ModelVersion]:
        try:
            text = self._get(f"{self._root}/{_LAST_GOOD}", 100, _LAST_GOOD)
        except StoreError:
            raise
        except VersionError:
            return []
        return version_names([text.decode(errors="replace")])

    def _names(self, folder: str) -> list[str]:
        with self._asking("list"):
            try:
                found = self._filesystem.ls(f"{self._root}/{folder}", detail=False)
            except FileNotFoundError:
                return []
            return [_base(name) for name in found]

    def _get(self, path: str, limit: int, what: str) -> bytes:
        """Return an object that has at most `limit` bytes.

        Raises:
            VersionError: it is missing, or larger.
            StoreError: the store does not answer.
        """
        with self._asking("read"):
            try:
                size = int(self._filesystem.info(path)["size"])
                if size > limit:
                    raise VersionError("file_size", f"{what} has {size} bytes, at most {limit} are expected")
                return bytes(self._filesystem.cat_file(path))
            except FileNotFoundError as error:
                raise VersionError("missing", f"{self.uri} has no {what}") from error

    def _delete(self, directory: str) -> None:
        with self._asking("delete from"), contextlib.suppress(FileNotFoundError):
            self._filesystem.rm(directory, recursive=True)

    @contextlib.contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Tell errors of the driver in our words; every driver raises its own kinds."""
        try:
            yield
        except VersionError:
            raise
        except PermissionError as error:
            raise StoreError("store_denied", self._sentence(what, error, "check its credentials")) from error
        except Exception as error:
            raise StoreError("store_unreachable", self._sentence(what, error, "it is tried again")) from error

    def _sentence(self, what: str, error: Exception, mend: str) -> str:
        told = self._hide(" ".join(f"{type(error).__name__}: {error}".split()))
        return f"cannot {what} {self.uri} ({told[:_TOLD]}); {mend}"

    def _files(self, version: str, digest: str) -> str:
        return f"{self._root}/files/{ModelVersion.parse(version)}.{digest}"

    def _manifest_path(self, version: str, digest: str) -> str:
        return f"{self._root}/manifests/{ModelVersion.parse(version)}.{digest}.json"

    def _pin_path(self, version: str) -> str:
        return f"{self._root}/{PINS_NAME}/{ModelVersion.parse(version)}"


def _base(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]
