"""Who is asked for: the users of a file, or made-up ones."""

from __future__ import annotations

from pathlib import Path

from features.config import ConfigError

_MOST = 1_000_000


def users_of_file(path: Path) -> list[str]:
    """Read a user id a line; empty lines are passed over.

    Raises:
        ConfigError: the file cannot be read or names nobody.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; name another file with --users-file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8; write one user id a line") from error
    users = [line.strip() for line in lines if line.strip()]
    if not 1 <= len(users) <= _MOST:
        raise ConfigError(f"{path} names {len(users)} users; give 1 to {_MOST:,}, one id a line")
    return users


def made_up_users(count: int) -> list[str]:
    """Return users whom nobody knows, unless an app calls its own so."""
    return [f"load-user-{number}" for number in range(count)]
