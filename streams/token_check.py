"""Whether feedback must prove that its item was shown, and by which keys; java/TokenHolds.java judges."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from features.config import load_section
from features.request_keys import make_request_keys, read_request_keys
from features.request_token_config import RequestTokensConfig
from streams.sql_text import literal


@dataclass(frozen=True)
class TokenCheck:
    """How feedback proves it."""

    keys: Path
    """The file of keys; every TaskManager finds it there."""
    lives_ms: int

    def condition(self) -> str:
        """Return the SQL condition for a token that proves its event."""
        columns = "`request_token`, `request_id`, `user_id`, `item_id`, `record_time_ms`"
        keys = f"CAST({literal(str(self.keys.absolute()))} AS STRING)"
        return f"TOKEN_HOLDS({columns}, {keys}, CAST({self.lives_ms} AS BIGINT))"


def load_token_check(config_path: Path, state_dir: Path) -> TokenCheck | None:
    """Return what `request_tokens` asks for, None where it is off; keys are made where there are none.

    Raises:
        ConfigError: the section or the keys cannot be used.
        OSError: the disk refuses.
    """
    config = load_section(config_path, "request_tokens", RequestTokensConfig)
    if not config.is_enabled:
        return None
    keys = config.keys_path(state_dir)
    make_request_keys(keys)
    read_request_keys(keys)  # Here, because a job could tell of an unusable file only by failing again and again.
    return TokenCheck(keys, config.lives_ms)
