"""Ctrl-C waits in a held region, and comes through where the region says so or ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from compose.held_interrupts import HeldInterrupts


@pytest.fixture(autouse=True)
def _heeds() -> Iterator[None]:
    """A job in the background of a shell inherits that SIGINT is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press() -> None:
    """Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)


def steps_until_interrupted(interrupts: HeldInterrupts, has_steps: bool) -> Iterator[int]:
    """Count in a held region; Ctrl-C comes at the second of three."""
    with interrupts.held:
        for step in range(3):
            if step == 1:
                press()
            yield step
            if has_steps:
                interrupts.held.let_through()


def collect(numbers: Iterator[int], into: list[int]) -> None:
    """Take numbers one by one, so that those before an exception are known."""
    for number in numbers:
        into.append(number)


@pytest.mark.parametrize(("has_steps", "counted"), [(True, [0, 1]), (False, [0, 1, 2])])
def test_interrupt_waits_for_a_step_or_the_end_of_a_region(has_steps: bool, counted: list[int]) -> None:
    """Nothing is raised in between, and none is left over."""
    steps: list[int] = []
    with HeldInterrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt):
            collect(steps_until_interrupted(interrupts, has_steps), steps)
        assert steps == counted
        with interrupts.held:
            interrupts.held.let_through()


def test_outside_a_region_nothing_is_held() -> None:
    """As always."""
    with HeldInterrupts(), pytest.raises(KeyboardInterrupt):
        press()
