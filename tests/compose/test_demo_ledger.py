"""Laws of the books over event ids."""

from __future__ import annotations

from compose.demo.ledger import DEAD_LETTER, Ledger, LedgerBalance


def test_an_event_without_outcome_is_lost() -> None:
    """Acknowledged and never seen again: lost."""
    ledger = Ledger()
    ledger.acknowledge("a")
    ledger.acknowledge("b")
    ledger.record_outcome("a", "organic")
    assert ledger.balance() == LedgerBalance(2, 1, 1, 0, 0, 0)
    assert ledger.num_open == 1


def test_an_outcome_before_its_acknowledgement_counts() -> None:
    """The jobs may be faster than the acknowledgement's way back."""
    ledger = Ledger()
    ledger.record_outcome("a", "organic")
    ledger.acknowledge("a")
    assert ledger.num_open == 0
    assert ledger.balance().events_lost == 0


def test_a_replayed_sample_is_a_duplicate_and_no_doubled_event() -> None:
    """After a failure the jobs write a sample again; its id makes that harmless."""
    ledger = Ledger()
    ledger.acknowledge("a")
    for _ in range(3):
        ledger.record_outcome("a", "organic")
    assert ledger.balance() == LedgerBalance(1, 1, 0, 0, 2, 0)


def test_two_different_outcomes_double_an_event() -> None:
    """An event must not be both a sample and a dead letter."""
    ledger = Ledger()
    ledger.acknowledge("a")
    ledger.record_outcome("a", "organic")
    ledger.record_outcome("a", DEAD_LETTER)
    assert ledger.balance().events_doubled == 1


def test_events_of_others_do_not_count() -> None:
    """Outcomes of ids that were never acknowledged here stay out of the balance."""
    ledger = Ledger()
    for _ in range(2):
        ledger.record_outcome("foreign", DEAD_LETTER)
    assert ledger.balance() == LedgerBalance(0, 0, 0, 0, 0, 0)
