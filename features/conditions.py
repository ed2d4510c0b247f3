"""Conditions on an event's value, as `headrace.yaml` writes them: `value >= 4`."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Literal

from features.strict_config import StrictConfig

_CONDITION = re.compile(r"^\s*value\s*(>=|<=|==|>|<)\s*(-?\d+(?:\.\d+)?)\s*$")


class Condition(StrictConfig):
    """A parsed `value >= 4`."""

    operator: Literal[">=", "<=", "==", ">", "<"]
    bound: float

    def holds(self, value: float | None) -> bool:
        """Say whether `value` meets the condition; a missing value never does."""
        if value is None:
            return False
        return {
            ">=": value >= self.bound,
            "<=": value <= self.bound,
            "==": value == self.bound,
            ">": value > self.bound,
            "<": value < self.bound,
        }[self.operator]


@lru_cache
def parse_condition(text: str) -> Condition:
    """Parse `value OP number`.

    Raises:
        ValueError: `text` is anything else.
    """
    match = _CONDITION.match(text)
    if match is None or not math.isfinite(float(match[2])):
        raise ValueError(f"{text!r} is not a condition; write for example 'value >= 4'")
    return Condition.model_validate({"operator": match[1], "bound": float(match[2])})
