"""Laws of Ctrl-C."""

from __future__ import annotations

import asyncio
import signal

import pytest

from compose.demo.interrupts import Interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_only_the_first_interrupt_raises(number: signal.Signals) -> None:
    """The clean-up that the first one starts is left in peace."""
    before = signal.getsignal(number)
    with Interrupts():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        signal.raise_signal(number)
    assert signal.getsignal(number) == before


def test_a_clean_up_without_interrupt_is_left_in_peace_too() -> None:
    """Ctrl-C while a finished demo stops its stack changes nothing."""
    with Interrupts() as interrupts:
        interrupts.ignore()
        signal.raise_signal(signal.SIGINT)


def test_an_interrupted_coroutine_cleans_up_before_the_interrupt_is_raised() -> None:
    """It is cancelled where it waits; its own clean-up runs to the end."""
    steps: list[str] = []

    async def work() -> None:
        signal.raise_signal(signal.SIGINT)
        try:
            await asyncio.sleep(60.0)
        finally:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(0)
            steps.append("cleaned up")

    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt):
        interrupts.run(work())
    assert steps == ["cleaned up"]


def test_a_coroutine_that_is_not_interrupted_returns() -> None:
    """Its result comes through."""

    async def work() -> int:
        return 3

    with Interrupts() as interrupts:
        assert interrupts.run(work()) == 3
