"""Pickles that leave a mark where somebody unpickles them, in the clothes of one tool or another."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
from pathlib import Path

KINDS = ("pickle", "binary", "torch", "numpy", "gzip", "json text", "not UTF-8")


def bomb(kind: str, marker: Path) -> bytes:
    """Return what creates `marker` where somebody unpickles it; in the clothes of one tool or another."""
    call = f"cos\nmkdir\n(V{marker}\ntR.".encode()
    binary = b"\x80\x04" + call
    if kind == "torch":
        zipped = io.BytesIO()
        with zipfile.ZipFile(zipped, "w") as archive:
            archive.writestr("archive/data.pkl", binary)
            archive.writestr("archive/version", "3\n")
        return zipped.getvalue()
    if kind == "numpy":
        header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + binary
    if kind == "json text":
        return json.dumps({"py/reduce": [{"py/function": "os.mkdir"}, {"py/tuple": [str(marker)]}]}).encode()
    if kind == "not UTF-8":
        return b'{"name": "\xff"}'
    return {"pickle": call, "binary": binary, "gzip": gzip.compress(binary)}[kind]
