"""Each aggregation's values equal a few lines of plain Python over the events."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from features.declared_features import DeclaredFeature
from features.declared_table import CountedEvent, DeclaredTable
from features.declared_values import current_sums, declared_values, value_names
from tests.features.declared import DAY_S, DECLARED, HOUR_S, feature
from tests.features.feature_records import NOW_MS, counted

Plain = Callable[[list[CountedEvent]], float]
RNG = random.Random(4)
EVENTS = [
    counted(
        f"i{RNG.randrange(9)}",
        NOW_MS - RNG.randrange(9 * 3_600_000),
        f"e{number}",
        action=RNG.choice(["view", "like", "rating"]),
        value=RNG.choice([None, -2.5, 1.0, 4.0, 5.0]),
    )
    for number in range(120)
]


def raw_of(one: DeclaredFeature, events: Sequence[CountedEvent] = EVENTS) -> NDArray[np.float64]:
    """The raw numbers of one feature, (1, W)."""
    table = DeclaredTable({"user_x": one})
    for event in events:
        table.add_event(0, event)
    return table.rows(1)


def values_of(one: DeclaredFeature, events: Sequence[CountedEvent] = EVENTS, now_ms: float = NOW_MS) -> list[float]:
    """The model inputs of one feature."""
    return [float(value) for value in declared_values({"user_x": one}, raw_of(one, events), now_ms)[0]]


def mean_of(events: list[CountedEvent], strength: float = 20.0) -> float:
    """Sum over count, the prior's events in the count."""
    return sum(event.value or 0.0 for event in events) / (len(events) + strength)


def share_of_likes(events: list[CountedEvent]) -> float:
    """Likes over events, with a prior of 0.1 that weighs 20 events, against the prior."""
    return (sum(event.action == "like" for event in events) + 2.0) / (len(events) + 20.0) / 0.1


def newest(events: list[CountedEvent]) -> CountedEvent:
    """The newest by time and id."""
    return max(events, key=lambda event: (event.event_time_ms, event.event_id))


@pytest.mark.parametrize(
    ("aggregation", "fields", "plain"),
    [
        ("count", {}, lambda events: math.log1p(len(events))),
        ("sum", {}, lambda events: math.asinh(sum(event.value for event in events))),
        ("mean", {}, lambda events: math.asinh(mean_of(events))),
        ("mean", {"prior_strength": 3}, lambda events: math.asinh(mean_of(events, 3.0))),
        ("max", {}, lambda events: math.asinh(max(event.value for event in events))),
        ("last", {}, lambda events: math.asinh(newest(events).value or 0.0)),
        ("distinct", {"of": "item_id"}, lambda events: math.log1p(len({event.item_id for event in events}))),
        ("ratio", {"positives": ["like"]}, lambda events: math.log(share_of_likes(events))),
        ("time_since_last", {}, lambda events: math.log1p((NOW_MS - newest(events).event_time_ms) / 3.6e6)),
    ],
)
@pytest.mark.parametrize("taken", [{}, {"when": "value >= 1"}, {"actions": ["like", "rating"]}, {"when": "value < 0"}])
def test_an_aggregation_equals_plain_python(
    aggregation: str, fields: dict[str, Any], plain: Plain, taken: dict[str, Any]
) -> None:
    """Over the events that the feature takes."""
    one = feature("user", aggregation, **fields, **taken)
    events = [event for event in EVENTS if one.takes(event.action, event.value)]
    assert values_of(one) == [pytest.approx(plain(events), rel=0.02 if aggregation == "distinct" else 1e-9)]


@pytest.mark.parametrize(
    ("aggregation", "fields", "undone"),
    [
        ("count", {}, math.expm1),
        ("distinct", {"of": "item_id"}, math.expm1),
        ("sum", {"half_lives_s": [3600]}, math.sinh),
        ("mean", {}, math.sinh),
        ("max", {}, math.sinh),
        ("last", {}, math.sinh),
    ],
)
def test_a_scale_divides_the_amount(aggregation: str, fields: dict[str, Any], undone: Callable[[float], float]) -> None:
    """Before its log is taken."""
    plain, scaled = (values_of(feature("user", aggregation, scale=scale, **fields))[0] for scale in (1.0, 50.0))
    assert undone(plain) == pytest.approx(50.0 * undone(scaled))


def test_decay_equals_plain_python_across_epochs() -> None:
    """A 5-minute half-life has an epoch of 200 minutes: events of three of them, told from their ages alone."""
    one = feature("user", "sum", half_lives_s=[300, DAY_S])
    assert len({event.event_time_ms // 12_000_000 for event in EVENTS}) >= 3
    for now_ms in (NOW_MS, NOW_MS + 12_000_000):
        ages_s = [((now_ms - event.event_time_ms) / 1000.0, event.value) for event in EVENTS if event.value is not None]
        expected = [
            math.asinh(sum(value * 2.0 ** (-age_s / life_s) for age_s, value in ages_s)) for life_s in (300, DAY_S)
        ]
        assert values_of(one, now_ms=now_ms) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_the_share_of_a_decayed_ratio_is_that_of_decayed_events() -> None:
    """Old likes weigh less than new views."""
    one = feature("user", "ratio", positives=["like"], half_lives_s=[HOUR_S])
    weights = [(2.0 ** ((event.event_time_ms - NOW_MS) / 3.6e6), event.action) for event in EVENTS]
    likes, events = sum(w for w, action in weights if action == "like"), sum(w for w, _ in weights)
    assert values_of(one) == [pytest.approx(math.log((likes + 2.0) / (events + 20.0) / 0.1), rel=1e-9)]


@pytest.mark.parametrize(
    ("passed", "expected"), [(0.0, 5.0), (0.25, 4.0), (0.75, 2.0), (1.0, 1.0), (1.5, 0.5), (2.0, 0.0)]
)
def test_a_window_takes_the_one_before_in_proportion(passed: float, expected: float) -> None:
    """Four events in the aligned hour before and one in this: as this one passes, the four leave in proportion."""
    one, start_ms = feature("user", "count", window_s=HOUR_S), 497_222 * 3_600_000
    times_ms = [*(start_ms - 1 - minute * 60_000 for minute in range(4)), start_ms]
    raw = raw_of(one, [counted("i", time_ms, f"e{time_ms}") for time_ms in times_ms])
    assert current_sums(one, raw, start_ms + passed * 3_600_000)[0, 0, 0] == pytest.approx(expected)


@pytest.mark.parametrize("name", DECLARED)
def test_zeros_are_nothing_yet(name: str) -> None:
    """A feature before its first event says 0, which is also what its prior says."""
    assert not declared_values({name: DECLARED[name]}, np.zeros((3, DECLARED[name].width)), NOW_MS).any()


def test_columns_stand_in_the_order_of_declaration() -> None:
    """Rows beside each other do not mix."""
    raw = np.zeros((2, sum(one.width for one in DECLARED.values())))
    raw[1, -1] = 6.0  # The likes of all, declared last.
    values = declared_values(DECLARED, raw, NOW_MS)
    assert values.shape == (2, len(value_names(DECLARED)))
    assert value_names(DECLARED)[-1] == "global_likes"
    assert values[1, -1] == pytest.approx(math.log1p(6.0))
    assert not values[0].any()
    assert not values[1, :-1].any()


def test_no_features_give_no_columns() -> None:
    """The default configuration declares none."""
    assert declared_values({}, np.zeros((4, 0)), NOW_MS).shape == (4, 0)


def test_a_clock_behind_the_events_stays_finite() -> None:
    """A reader whose clock is a year behind must not see infinities."""
    for one in DECLARED.values():
        raw = raw_of(one, [counted("i", NOW_MS, action=action, value=3.0) for action in ("view", "like", "rating")])
        assert np.isfinite(declared_values({"user_x": one}, raw, NOW_MS - 31_536_000_000)).all()
