"""What can go wrong around the stack, each with its exit code.

StackError                  1
├── StackNotRunningError    3
├── StackRunningError       4
├── PortTakenError          5
├── NotInstalledError       6
├── PartFailedError         7
├── AdminError              8
├── NotHeldError            9
├── StateUsedError         10
├── NoExperimentError      11
└── ThresholdMissedError   12
"""

from __future__ import annotations

EXIT_CODES = """Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 3 stack not running,
4 stack already running, 5 port taken, 6 something is not installed or is damaged,
7 a part did not start, 8 the server refused an order, 9 no such window is held,
10 something was learnt there already, 11 there is no such experiment,
12 a threshold was missed, 130 interrupted."""


class StackError(Exception):
    """Expected: something around the local stack cannot go on; the message is one sentence with the mend in it."""

    exit_code = 1


class StackNotRunningError(StackError):
    """Expected: the command needs a running stack and finds none."""

    exit_code = 3


class StackRunningError(StackError):
    """Expected: a stack already runs in this state directory."""

    exit_code = 4


class PortTakenError(StackError):
    """Expected: another process listens on a port that the stack needs."""

    exit_code = 5


class NotInstalledError(StackError):
    """Expected: a tool, jar or file is missing or damaged; `make setup` mends it."""

    exit_code = 6


class PartFailedError(StackError):
    """Expected: a part did not become ready in time, or refuses to start; the message quotes its log."""

    exit_code = 7


class AdminError(StackError):
    """Expected: the server refused an order, or could not be reached for one."""

    exit_code = 8


class NotHeldError(StackError):
    """Expected: an order about a window that is not held."""

    exit_code = 9


class StateUsedError(StackError):
    """Expected: a state that should be empty holds what a trainer learnt."""

    exit_code = 10


class NoExperimentError(StackError):
    """Expected: no list that is kept names an experiment, or the one that was asked for."""

    exit_code = 11


class ThresholdMissedError(StackError):
    """Expected: a measurement ended, and is worse than a threshold that was given."""

    exit_code = 12
