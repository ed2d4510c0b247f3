"""One process of the load generator: `python -m compose.load.process`, driven over its pipes by `compose.load.run`.

In: a plan as one JSON line, then, after our `READY`, the start on the monotonic clock. Out: `CALLS n` lines, and the
tally as JSON at the end.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass

from compose.load.arrivals import Arrival, arrivals
from compose.load.calls import Call, Questions, ask_all
from compose.load.tally import Tally
from headrace_client import Tls

_TOLD_EVERY = 50


@dataclass(frozen=True)
class Plan:
    """What one process does."""

    questions: Questions
    arrival: Arrival
    rate: float
    """Calls a second, of all processes together."""
    seconds: float
    warm_up_s: float
    """Calls of the first seconds are made and not counted."""
    deadline_s: float
    seed: int
    part: int = 0
    parts: int = 1

    def to_wire(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_wire(cls, line: str) -> Plan:
        """Return what `to_wire` made."""
        data = json.loads(line)
        asked = data.pop("questions")
        asked["metadata"] = tuple(tuple(pair) for pair in asked["metadata"])
        asked["tls"] = Tls(**asked["tls"]) if asked["tls"] else None
        return cls(questions=Questions(**asked), **data)


def main() -> None:
    """Ask, then tell."""
    plan, tally = Plan.from_wire(sys.stdin.readline()), Tally()
    started_s = 0.0

    def start() -> float:
        nonlocal started_s
        print("READY", flush=True)
        started_s = float(sys.stdin.readline())
        return started_s

    def count(call: Call) -> None:
        if call.due_s >= started_s + plan.warm_up_s or call.code == "LOST":
            tally.add(call, plan.deadline_s)
            if tally.calls % _TOLD_EVERY == 0:
                print(f"CALLS {tally.calls}", flush=True)

    length_s = plan.warm_up_s + plan.seconds
    moments = arrivals(plan.arrival, plan.rate, length_s, plan.seed, plan.part, plan.parts)
    asyncio.run(ask_all(plan.questions, moments, count, start))
    print(json.dumps(tally.to_wire()), flush=True)


if __name__ == "__main__":
    main()
