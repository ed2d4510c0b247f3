"""The file of tokens: `{"tokens": [{"name", "role", "sha256", "created_ms", "expires_ms"}]}`, readable by its owner."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from features.config import ConfigError
from features.security.tokens import Token, TokenBook
from features.whole_file import replace_file

_SHA256 = re.compile(r"[0-9a-f]{64}")


class _TokensFile(msgspec.Struct, forbid_unknown_fields=True):
    tokens: list[Token]


def read_tokens(path: Path) -> TokenBook:
    """Return the tokens of a file, none where it is missing.

    Raises:
        ConfigError: it cannot be used.
    """
    try:
        tokens = msgspec.json.decode(path.read_bytes(), type=_TokensFile).tokens
    except FileNotFoundError:
        return TokenBook()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"cannot use the tokens file {path}: {reason}; `headrace tokens` writes it") from error
    for token in tokens:
        if not _SHA256.fullmatch(token.sha256):
            raise ConfigError(
                f"the tokens file {path} holds {token.sha256!r:.12}… for {token.name!r:.80}, not the 64 hex digits of "
                "a SHA-256; make tokens with `headrace tokens create`"
            )
    return TokenBook(tokens)


def write_tokens(path: Path, tokens: tuple[Token, ...]) -> None:
    """Replace the file in one step.

    Raises:
        OSError: the disk refuses.
    """
    content = msgspec.json.format(msgspec.json.encode(_TokensFile(list(tokens))), indent=2)
    replace_file(path, content + b"\n", mode=0o600, is_durable=True)
