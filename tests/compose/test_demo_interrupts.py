"""Laws of Ctrl-C."""

from __future__ import annotations

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
