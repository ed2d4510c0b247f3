"""A delta's payload cut into records of `headrace.deltas.v1`, and put together again.

The topic has one partition and one transactional writer, so the chunks of a delta lie together; what a reader that
began in the middle, or a topic that lost its front, sees first is passed over until a first chunk comes.
"""

from __future__ import annotations

from typing import NamedTuple

from google.protobuf.message import DecodeError

from protos.models_pb2 import DeltaHeader
from trainer.errors import VersionError
from trainer.version_delta import digest_of, split_payload
from trainer.version_files import Manifest

TOPIC = "headrace.deltas.v1"
CHUNK_BYTES = 500 * 1024
"""Of the payload in a record; with the header a record stays below 512 KiB."""
MAX_PAYLOAD_BYTES = 1 << 30
"""Of a whole delta; larger ones are refused before they fill the memory."""


def chunk_records(name: str, version: str, parent_sha256: str, payload: bytes) -> list[bytes]:
    """Return the values of the records that carry a payload, in their order."""
    digest = digest_of(payload)
    number = max(1, -(-len(payload) // CHUNK_BYTES))
    values = []
    for chunk in range(number):
        header = DeltaHeader(
            name=name, version=version, parent_sha256=parent_sha256, sha256=digest, chunk=chunk, chunks=number
        ).SerializeToString()
        begin = chunk * CHUNK_BYTES
        values.append(len(header).to_bytes(4, "little") + header + payload[begin : begin + CHUNK_BYTES])
    return values


class JoinedDelta(NamedTuple):
    """A payload whose bytes are what was sent."""

    version: str
    digest: str
    payload: bytes


def first_chunk_manifest(value: bytes) -> Manifest | None:
    """Return what the delta says of itself that begins with this record; None for a later chunk.

    Raises:
        VersionError: the record is no chunk of a delta.
    """
    header, content = _parsed(value)
    return None if header.chunk else split_payload(content)[0]


class ChunkJoiner:
    """Puts chunks together.

    Args:
        name: of the model; deltas of others are passed over.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._digest = ""
        self._chunks: list[bytes] = []
        self._wanted = 0

    def add(self, value: bytes) -> JoinedDelta | None:
        """Take the next record; return the delta that it completes, if any.

        Raises:
            VersionError: the record, or the delta that it completes, is not what was sent. What was collected is
                dropped: the next delta does not fit what came before it, and says so.
        """
        header, content = _parsed(value)
        if header.name != self._name:
            return None
        if header.chunk == 0:
            self._digest, self._chunks, self._wanted = header.sha256, [], header.chunks
        elif header.sha256 != self._digest or header.chunk != len(self._chunks):
            self._drop()
            return None
        self._chunks.append(content)
        if len(self._chunks) < self._wanted:
            return None
        payload = b"".join(self._chunks)
        self._drop()
        if digest_of(payload) != header.sha256:
            raise VersionError("delta_digest", f"delta {header.version} is not what was sent")
        return JoinedDelta(header.version, header.sha256, payload)

    def _drop(self) -> None:
        self._digest, self._chunks, self._wanted = "", [], 0


def _parsed(value: bytes) -> tuple[DeltaHeader, bytes]:
    size = int.from_bytes(value[:4], "little")
    header = DeltaHeader()
    try:
        if not 0 < size <= len(value) - 4:
            raise DecodeError(f"a header of {size} bytes")
        header.ParseFromString(value[4 : 4 + size])
    except DecodeError as error:
        raise VersionError("no_delta", f"a record of {len(value)} bytes is no chunk of a delta: {error}") from error
    if not 1 <= header.chunks <= MAX_PAYLOAD_BYTES // CHUNK_BYTES or not 0 <= header.chunk < header.chunks:
        raise VersionError("no_delta", f"chunk {header.chunk} of {header.chunks} is none")
    return header, value[4 + size :]
