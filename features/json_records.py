"""Records of topics decoded from JSON: whatever bytes come, there is a value or one kind of error.

msgspec passes over fields that nobody declared, whatever is in them, and gives up on one nested a thousand deep with a
`RecursionError`: no decode error, so a single record would end whoever reads the topic, again after every restart.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

Record = TypeVar("Record")


class JsonDecoder(Generic[Record]):
    """`msgspec.json.Decoder` for what strangers wrote.

    Args:
        kind: of the records.
    """

    def __init__(self, kind: type[Record]) -> None:
        self.type = kind
        self._decode = msgspec.json.Decoder(kind).decode

    def decode(self, raw: bytes) -> Record:
        """Decode a record.

        Raises:
            msgspec.DecodeError: it is none of this kind, or is nested too deep to tell.
        """
        try:
            return self._decode(raw)
        except RecursionError as error:
            raise msgspec.DecodeError("nested too deep") from error
