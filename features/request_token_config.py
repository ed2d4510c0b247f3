"""The `request_tokens` section of `headrace.yaml`: feedback counts only for what was really shown.

A section of its own, for server and streams must agree on it and no weight depends on it.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from features.strict_config import StrictConfig


class RequestTokensConfig(StrictConfig):
    """Signed tokens of answers, which the events that react to them carry back.

    Environment prefix: `HEADRACE_REQUEST_TOKENS_`.
    """

    is_enabled: bool = False
    """Sign every answer of `Recommend`, and count no event with a `request_id` without the token of that answer."""
    keys_file: Path = Path("request-keys.json")
    """Keys that sign and check, readable by their owner alone; relative to the state directory. Made where missing."""
    lives_h: float = Field(24.0, gt=0, le=24 * 366)
    """How long after its answer, by the broker's time of the event, a token is good."""
    check_s: float = Field(1.0, gt=0, le=3600)
    """How often the server looks at that file."""

    def keys_path(self, state_dir: Path) -> Path:
        """Return where the keys are."""
        return state_dir / self.keys_file

    @property
    def lives_ms(self) -> int:
        """`lives_h` in milliseconds."""
        return int(self.lives_h * 3_600_000)
