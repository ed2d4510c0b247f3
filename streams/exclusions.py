"""What the feature job must never have counted: events of purged windows, and those of forgotten users.

`STATE/exclusions.json` says it, so that every later build of the job leaves the same out. Users stand there as sha256
only: the file must not be one more place that knows them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from features.config import ConfigError
from features.whole_file import replace_file
from streams.sql_text import literal

_FILE = "exclusions.json"
_KEPT_MS = 15 * 86_400_000
"""Twice as long as events stay on their topics: what is older is in no topic that a job could read again."""


class Exclusions(msgspec.Struct, forbid_unknown_fields=True):
    """Windows and users, by the broker's times."""

    windows: list[tuple[int, int]] = []
    """(first, end) in milliseconds, the end not included."""
    users: dict[str, int] = {}
    """sha256 of a user id in hex -> broker time up to which events are the forgotten user's."""

    def with_window(self, start_ms: int, end_ms: int) -> Exclusions:
        """Return these and a window; without those that no topic can bring back."""
        windows = {(a, b) for a, b in self.windows if b >= end_ms - _KEPT_MS} | {(start_ms, end_ms)}
        return Exclusions(sorted(windows), dict(self.users))

    def with_user(self, user_id: str, until_ms: int) -> Exclusions:
        """Return these and a user; without those that no topic can bring back."""
        users = {name: time_ms for name, time_ms in self.users.items() if time_ms >= until_ms - _KEPT_MS}
        name = user_name(user_id)
        users[name] = max(until_ms, users.get(name, 0))
        return Exclusions(list(self.windows), dict(sorted(users.items())))

    def of_events(self) -> str:
        """Return the SQL condition that a row with `user_id` and `record_time_ms` is excluded; empty where none is."""
        windows = [f"(`record_time_ms` >= {start} AND `record_time_ms` < {end})" for start, end in self.windows]
        return " OR ".join(filter(None, (*windows, self.of_users("`record_time_ms`"))))

    def of_users(self, time_ms: str) -> str:
        """Return the SQL condition that a row with `user_id` is a forgotten user's; empty where nobody is forgotten.

        Args:
            time_ms: SQL of the time by which it is judged.
        """
        if not self.users:
            return ""
        # The newest time first: a row of now is told without hashing its user.
        named = (f"(`hash` = {literal(name)} AND {time_ms} <= {until})" for name, until in self.users.items())
        hashed = " OR ".join(named).replace("`hash`", "SHA256(`user_id`)")
        return f"({time_ms} <= {max(self.users.values())} AND ({hashed}))"


NOTHING_EXCLUDED = Exclusions()


def user_name(user_id: str) -> str:
    """Return what stands for a user, as Flink's SHA256 gives it."""
    return hashlib.sha256(user_id.encode()).hexdigest()


def load_exclusions(state_dir: Path) -> Exclusions:
    """Return what is excluded; nothing where there is no such file.

    Raises:
        ConfigError: the file cannot be used. Without it a job would count again what was purged.
    """
    path = state_dir / _FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Exclusions)
    except FileNotFoundError:
        return NOTHING_EXCLUDED
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be used ({error}); put back the last good copy of it") from error


def save_exclusions(state_dir: Path, exclusions: Exclusions) -> None:
    """Write what is excluded, whole.

    Raises:
        OSError: the disk refuses; the file before it stays.
    """
    replace_file(state_dir / _FILE, msgspec.json.format(msgspec.json.encode(exclusions)) + b"\n")
