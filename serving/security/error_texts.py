"""What may leave the process in an error text: no paths of this machine, no tokens, no stacks."""

from __future__ import annotations

import re

MAX_CHARS = 500
_DIRECTORIES = re.compile(r"(?<![\w.…/:-])/(?:[^\s/'\"`:;,()]+/)+")
_TOKEN = re.compile(r"\bhr-(recommend|admin|metrics)-[\w-]+")
_BEARER = re.compile(r"(?i)\bbearer\s+\S+")


def public_text(text: str) -> str:
    """Return a sentence as callers may read it: one line, files without their directories, tokens blanked."""
    line = " ".join(text.split())
    line = _BEARER.sub("Bearer …", _TOKEN.sub(r"hr-\1-…", line))
    line = _DIRECTORIES.sub("…/", line)
    return line if len(line) <= MAX_CHARS else line[: MAX_CHARS - 1] + "…"
