"""Records that cannot be used go to the dead-letter topic with their original bytes and the reason."""

from __future__ import annotations

from streams.events import CHECKED

_KEPT_BYTES = 16_384


def insert_dead_letters() -> str:
    """Return the statement that writes every rejected record; a null value travels as empty bytes.

    Of a record that is too large only the beginning is kept, else the dead letter could exceed its own topic's limit.
    """
    return f"""INSERT INTO dead_letters
SELECT
  CASE WHEN `reason` = 'too_large' THEN {_beginning()} ELSE COALESCE(`raw`, x'') END,
  `topic`, `partition`, `offset`, `reason`, `record_time_ms`
FROM {CHECKED}
WHERE `reason` IS NOT NULL"""


def _beginning() -> str:
    # SUBSTRING takes no bytes; in ISO-8859-1 every byte is a character.
    return f"ENCODE(SUBSTRING(DECODE(`raw`, 'ISO-8859-1') FROM 1 FOR {_KEPT_BYTES}), 'ISO-8859-1')"
