"""Valid messages, and what strangers make of them: fields replaced, lengths overstated, bits turned, bytes cut.

Everything is a function of the random source that is given, so a seed repeats every byte.
"""

from __future__ import annotations

import json
import random
from typing import Any

from google.protobuf.message import Message

STRANGE_TEXTS = (
    "",
    "a:b",
    "*",
    "../../etc/passwd",
    "file:///etc/passwd",
    "1.1; DROP TABLE users",
    "a\r\nSET x y",
    "nul\x00",
    "\x85\u2028",
    "\u202eadA",
    "{}",
    "%s%n",
    "ä" * 64,
    "ä" * 65,
    "x" * 10_000,
    "🦊" * 32,
    "-0",
    "NaN",
)
STRANGE_NUMBERS = (0, -1, 1, 501, 2001, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))
STRANGE_FLOATS = (0.0, -1.0, 1.0, 1e308, float("nan"), float("inf"), float("-inf"), 5e-324)
_STRANGE_JSON: tuple[Any, ...] = (
    None,
    True,
    [],
    {},
    [1, None],
    {"": 0},
    10**18 - 1,
    10**18,
    10**30,
    10**400,
    1_790_000_000_000.0,
    1e308,
    -0.0,
    0.5,
    *STRANGE_TEXTS,
    *STRANGE_NUMBERS,
)
_STRANGE_ESCAPES = (b"\\ud800", b"\\ud800" * 40, b"\\udc00x", b"\\ud83e\\udd8a", b"\\u0000", b"\\u00", b"\\x")
_STRANGE_DIGITS = (b"1e999", b"-1e999", b"1e-999", b"04", b"+4", b"4.", b".5", b"4e", b"0x4", b"NaN", b"-Infinity")
_MANY = (3, 33, 600, 2001)
"""Sizes of lists and maps: below and above what is taken."""
_LONGEST = 200_000
"""Bytes appended at once: three times what a server reads."""


def mutated_message(message: Message, draw: random.Random) -> bytes:
    """Return the bytes of a message after up to three fields were replaced, and at times some bytes too."""
    changed = type(message)()
    changed.CopyFrom(message)
    for _ in range(draw.randrange(4)):
        _replace_field(changed, draw)
    raw = changed.SerializeToString()
    return raw if draw.random() < 0.6 else mutated_bytes(raw, draw)


def mutated_event(event: dict[str, Any], draw: random.Random) -> bytes:
    """Return an event as JSON after up to three fields were replaced or left out, and at times some bytes too."""
    content = dict(event)
    for _ in range(draw.randrange(4)):
        name = draw.choice([*event, "unknown"])
        if draw.random() < 0.2:
            content.pop(name, None)
        else:
            content[name] = draw.choice(_STRANGE_JSON)
    raw = json.dumps(content, ensure_ascii=draw.random() < 0.5).encode()
    if draw.random() < 0.03:
        depth = draw.choice((15, 16, 17, 3000))
        raw = raw[:-1] + b', "deep": ' + b"[" * depth + b"]" * depth + b"}"
    if draw.random() < 0.03:
        raw = raw.replace(b'"value": 4', b'"value": ' + draw.choice(_STRANGE_DIGITS))
    if draw.random() < 0.03:
        raw = raw.replace(draw.choice((b"ann", b"r1", b"page", b"value")), draw.choice(_STRANGE_ESCAPES))
    return raw if draw.random() < 0.6 else mutated_bytes(raw, draw)


def mutated_bytes(raw: bytes, draw: random.Random) -> bytes:
    """Return bytes with up to three of: bits turned, cut, doubled, a piece less or more, a length overstated."""
    data = bytearray(raw)
    for _ in range(draw.randint(1, 3)):
        place = draw.randrange(len(data) + 1)
        kind = draw.randrange(7)
        if kind == 0 and data:
            data[min(place, len(data) - 1)] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del data[place:]
        elif kind == 2:
            data += data[place:]
        elif kind == 3:
            del data[place : place + draw.randint(1, 8)]
        elif kind == 4:
            data[place:place] = draw.randbytes(draw.randint(1, 16))
        elif kind == 5:  # A varint that says there is far more than there is.
            data[place : place + 1] = b"\xff" * draw.randint(1, 10) + b"\x7f"
        elif draw.random() < 0.05:
            data += bytes(draw.randint(1, _LONGEST))
    return bytes(data)


def _replace_field(message: Message, draw: random.Random) -> None:
    fields = message.DESCRIPTOR.fields
    if not fields:
        return
    field = draw.choice(fields)
    message.ClearField(field.name)
    if field.message_type is not None:  # Of requests only `context`, a map of texts.
        entries = getattr(message, field.name)
        for number in range(draw.choice(_MANY)):
            entries[f"key-{number}"] = "value"
        entries[draw.choice(STRANGE_TEXTS)] = draw.choice(STRANGE_TEXTS)
    elif field.label == field.LABEL_REPEATED:
        texts = [f"item-{number}" for number in range(draw.choice(_MANY))]
        texts[draw.randrange(len(texts))] = draw.choice(STRANGE_TEXTS)
        getattr(message, field.name).extend(texts)
    else:
        setattr(message, field.name, _strange_value(field, draw))


def _strange_value(field: Any, draw: random.Random) -> object:
    if field.cpp_type == field.CPPTYPE_STRING:
        return draw.choice(STRANGE_TEXTS)
    if field.cpp_type == field.CPPTYPE_BOOL:
        return draw.random() < 0.5
    if field.cpp_type in (field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT):
        return draw.choice(STRANGE_FLOATS)
    # Enums are open in proto3: any number of 32 bits can be sent.
    return draw.choice([number for number in STRANGE_NUMBERS if -(2**31) <= number < 2**31])
