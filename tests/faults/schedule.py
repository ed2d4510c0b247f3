"""Seeded schedules of faults: what happens to which part, when, and for how long. Same seed, same schedule."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Kind = Literal["kill", "pause", "line", "flush"]
MOST_FAULTS = 3
KILLED = ("kafka", "redis", "jobmanager", "taskmanager", "ingester", "trainer", "server", "quality")
PAUSED = ("kafka", "redis", "taskmanager", "ingester", "trainer", "server")
KAFKA_LINES = ("kafka-app", "kafka-jobs", "kafka-ingester", "kafka-quality", "kafka-trainer", "kafka-server")
REDIS_LINES = ("redis-ingester", "redis-server")
LINES = (*KAFKA_LINES, *REDIS_LINES)
ORDERS = ("hole", "cut", "drop up", "drop down", "stall", "slow 0.2 0.1", "slice 700", "bandwidth 200000")
"""What the line of a mix does; corruption is a row of its own, as Kafka's own checks end the connection at once."""
SHORTEST_S, LONGEST_S = 2.0, 12.0


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong."""

    at: float
    """Its turn in the load, 0 to 1."""
    kind: Kind
    target: str
    """A part, or a line: which part reaches what."""
    order: str
    """Of the line; empty where the fault is none of a line."""
    lasts_s: float
    """0 for a kill and for a flush: who was killed comes back by itself."""

    def describe(self) -> str:
        """Return it in a few words."""
        words = [
            self.kind,
            self.target,
            self.order,
            f"{self.lasts_s:.1f} s" if self.lasts_s else "",
            f"at {self.at:.0%}",
        ]
        return " ".join(filter(None, words))


def make_mix(seed: int) -> tuple[Fault, ...]:
    """Return the one to three faults of a seed in the order of their beginning."""
    rng = random.Random(f"mix of {seed}")
    faults = [_draw(rng) for _ in range(rng.randint(1, MOST_FAULTS))]
    return tuple(sorted(faults, key=lambda fault: fault.at))


def make_swizzle(seed: int) -> tuple[Fault, ...]:
    """Return every line stalled one after the other and healed in another order (FoundationDB's swizzle-clog)."""
    rng = random.Random(f"swizzle of {seed}")
    lines = rng.sample(LINES, len(LINES))
    return tuple(
        Fault(0.1 + 0.04 * place, "line", line, "hole", rng.uniform(4.0, LONGEST_S)) for place, line in enumerate(lines)
    )


def make_none(_seed: int) -> tuple[Fault, ...]:
    """Return no fault: what is sent is bad enough."""
    return ()


def describe(faults: tuple[Fault, ...]) -> str:
    """Return a schedule in a line."""
    return "; ".join(fault.describe() for fault in faults) or "no fault"


def _draw(rng: random.Random) -> Fault:
    at, lasts_s = rng.uniform(0.05, 0.85), rng.uniform(SHORTEST_S, LONGEST_S)
    kind: Kind = rng.choices(("kill", "pause", "line", "flush"), weights=(4, 2, 4, 0.5))[0]
    match kind:
        case "kill":
            return Fault(at, kind, rng.choice(KILLED), "", 0.0)
        case "pause":
            return Fault(at, kind, rng.choice(PAUSED), "", lasts_s)
        case "line":
            return Fault(at, kind, rng.choice(LINES), rng.choice(ORDERS), lasts_s)
        case _:
            return Fault(at, kind, "redis", "", 0.0)
