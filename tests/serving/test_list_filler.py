"""Laws of filling a list."""

from __future__ import annotations

from serving.list_filler import Cap, ListFiller

ORDER = [3, 1, 0, 2, 4]


def test_without_caps_and_pins_the_order_is_the_list() -> None:
    """And it ends where candidates do."""
    assert ListFiller(ORDER).fill(3) == [3, 1, 0]
    assert ListFiller(ORDER).fill(9) == ORDER


def test_cap_is_never_exceeded_and_the_next_best_moves_up() -> None:
    """Of 3, 1 and 0 only the best stands."""
    capped = Cap([True, True, False, True, False], 1)
    assert ListFiller(ORDER, (capped,)).fill(5) == [3, 2, 4]


def test_pinned_candidate_stands_in_its_place_and_nowhere_else() -> None:
    """The others fill the places around it."""
    assert ListFiller(ORDER, (), {1: 4}).fill(4) == [3, 4, 1, 0]


def test_pin_counts_for_caps_and_stands_whatever_they_say() -> None:
    """The room that a pin takes is gone from the beginning, also for places above it."""
    capped = Cap([True, True, False, True, False], 1)
    assert ListFiller(ORDER, (capped,), {1: 0}).fill(4) == [2, 0, 4]


def test_pin_below_the_end_takes_no_room_of_caps() -> None:
    """It does not show on this list, so another of its kind may."""
    capped = Cap([True, True, False, True, False], 1)
    assert ListFiller(ORDER, (capped,), {5: 0}, size=2).fill(2) == [3, 2]


def test_pin_below_the_end_of_a_short_list_moves_up() -> None:
    """Where the others are used up, the pinned one is next."""
    assert ListFiller([0, 1], (), {5: 1}).fill(9) == [0, 1]


def test_put_takes_the_place_from_the_others() -> None:
    """What a draw put in is not listed again."""
    filler = ListFiller(ORDER)
    filler.put(2)
    assert list(filler.allowed()) == [3, 1, 0, 4]
    assert filler.fill(5) == [2, 3, 1, 0, 4]
