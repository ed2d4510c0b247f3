"""What the ranker sees of exposure, categories, ages and the user."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from features.config import FeaturesConfig
from features.item_lines import empty_lines, fill_facts
from features.item_table import MAX_CATEGORIES
from features.model_inputs import (
    PRIOR_CLICKS,
    ItemArrays,
    UserArrays,
    age_gap,
    category_leans,
    feature_schema_hash,
    fill_exposure_inputs,
    fill_ranks,
    fill_shown_inputs,
    first_pre_ranker_weights,
    item_service,
    num_fixed_inputs,
    num_pre_ranker_inputs,
    pre_ranker_input_names,
    ranker_input_names,
    user_service,
)
from features.pool_inputs import fill_category_inputs
from tests.features.feature_records import NOW_MS

HOUR_MS = 3_600_000
NUM_SPANS = 5


def items_with(exposure: NDArray[np.float64] | None = None, categories: list[list[int]] | None = None) -> ItemArrays:
    """Items of which only these are known."""
    codes = np.array(categories or [[-1]], dtype=np.int32)
    spans = 1 if exposure is None else exposure.shape[1]
    return ItemArrays(
        sums=np.zeros((len(codes), spans, 3)),
        decay=np.ones(spans),
        totals=np.zeros((spans, 3)),
        exposure=np.zeros((0, spans, 3)) if exposure is None else exposure,
        exposure_decay=np.ones(spans),
        categories=codes,
        published_ms=np.zeros(len(codes), dtype=np.int64),
    )


def user_with(
    shown: list[int] | None = None,
    shown_ms: NDArray[np.int64] | None = None,
    category_counts: list[list[float]] | None = None,
) -> UserArrays:
    """A user of whom only these are known."""
    nothing = np.zeros(0, dtype=np.int64)
    counts = np.array(category_counts or []).reshape(-1, 3)
    rows = np.array(shown or [], dtype=np.int64)
    times_ms = nothing if shown_ms is None else shown_ms
    return UserArrays(np.zeros((1, 3)), nothing, nothing, np.arange(len(counts)), counts, rows, times_ms)


def exposure_inputs(exposure: NDArray[np.float64]) -> NDArray[np.float32]:
    """Fill the columns of all items."""
    out = np.zeros((2 * exposure.shape[1], len(exposure)), dtype=np.float32)
    rows = np.arange(len(exposure))
    fill_exposure_inputs(rows, rows, items_with(exposure), out, 0)
    return out.T


def shown_inputs(rows: list[int], user: UserArrays) -> NDArray[np.float32]:
    """Fill the columns of some items."""
    out = np.zeros((2, len(rows)), dtype=np.float32)
    marks = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0], dtype=np.uint8)
    fill_shown_inputs(np.array(rows), user, NOW_MS, marks, out, 0)
    assert marks.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    return out.T


def test_clicks_over_expected_clicks_tell_good_items_from_good_places() -> None:
    """Twice as many clicks as expected is above 0, half as many below, few lists stay near 0, none are 0."""
    exposure = np.array([[[100.0, 10.0, 20.0]], [[100.0, 10.0, 5.0]], [[1.0, 0.1, 0.2]], [[0.0, 0.0, 0.0]]])
    ratios = [math.log((clicks + PRIOR_CLICKS) / (expected + PRIOR_CLICKS)) for _, expected, clicks in exposure[:, 0]]
    inputs = exposure_inputs(exposure)
    assert inputs[:, 1].tolist() == pytest.approx(ratios, abs=1e-6)
    assert inputs[0, 1] > 0.5
    assert inputs[1, 1] < -0.5
    assert abs(inputs[2, 1]) < 0.05
    assert inputs[:, 0].tolist() == pytest.approx([math.log(101), math.log(101), math.log(2), 0.0])
    assert not inputs[3].any()


def test_exposure_inputs_lie_by_half_life() -> None:
    """Lists and the ratio of one half-life side by side, as they are named."""
    exposure = np.zeros((1, 5, 3))
    exposure[0, 1] = [math.e - 1.0, 0.0, 0.0]
    names = [name for name in ranker_input_names(FeaturesConfig()) if "_lists_" in name or "_over_expected_" in name]
    inputs = dict(zip(names, exposure_inputs(exposure)[0].tolist(), strict=True))
    assert inputs.pop("item_lists_decay_1h") == pytest.approx(1.0)
    assert not any(inputs.values())


def test_shown_items_say_how_often_and_how_lately() -> None:
    """The newest showing counts for the age; unknown items match nothing."""
    user = user_with([4, 7, -1, 4, 4], NOW_MS - HOUR_MS * np.array([1, 2, 3, 5, 9]))
    expected = [[math.log(2), math.log(3)], [math.log(4), math.log(2)], [0.0, 0.0]]
    np.testing.assert_allclose(shown_inputs([7, 4, 5], user), expected, rtol=1e-6)


def test_an_item_shown_ahead_of_the_clock_was_shown_just_now() -> None:
    """Two machines' clocks differ."""
    assert shown_inputs([1], user_with([1], np.array([NOW_MS + 500])))[0, 1] == 0.0


def test_who_was_shown_nothing_has_zeros() -> None:
    """One row a candidate all the same."""
    assert shown_inputs([0, 1, 2], user_with()).tolist() == [[0.0, 0.0]] * 3


def fill_of(codes: list[list[int]], leans: NDArray[np.float64], out: NDArray[np.float32]) -> None:
    """Write what a user's leans say of items with these categories."""
    rows, categories = np.arange(len(codes)), np.full((len(codes), MAX_CATEGORIES), -1, dtype=np.int32)
    for row, of_item in enumerate(codes):
        categories[row, : len(of_item)] = of_item
    lines = empty_lines(len(codes), NUM_SPANS)
    fill_facts(0, rows, categories, np.zeros(len(codes), dtype=np.int64), NUM_SPANS, lines)
    fill_category_inputs(rows, rows, categories, lines, NUM_SPANS, leans, out, 0)


@pytest.mark.parametrize("far", [[70_000], [3, 70_000], [65_534], [65_535, 3]])
def test_a_code_too_large_for_a_line_counts_all_the_same(far: list[int]) -> None:
    """A catalogue of more than 65,534 categories is read from the item table."""
    leans, out = np.zeros((80_000, 3)), np.zeros((3, 2), dtype=np.float32)
    leans[:, 0] = np.arange(80_000)
    fill_of([far, [3]], leans, out)
    assert out[0].tolist() == [np.float32(sum(far) / len(far)), 3.0]


def test_category_inputs_say_how_much_more_than_others_the_user_leans() -> None:
    """Category 0 is everyone's half and this user's all; category 1 was never touched by the user."""
    user = user_with(category_counts=[[20.0, 10.0, 0.0]])
    out = np.zeros((3, 2), dtype=np.float32)
    shares = np.full((2, 2), 0.5)
    fill_of([[0], [1]], category_leans(user, shares), out)
    expected = math.log((10 + 5 * 0.5001) / (15 * 0.5001)), math.log(5 / 15)
    assert out[0].tolist() == pytest.approx(expected, rel=1e-5)
    assert out[2].tolist() == [0.0, 1.0]


def test_category_inputs_of_a_new_user_are_zero() -> None:
    """Nothing known leans nowhere."""
    out = np.ones((3, 1), dtype=np.float32)
    fill_of([[0]], category_leans(user_with(), np.full((1, 2), 1.0)), out)
    assert not out.any()


def test_an_unknown_publication_has_no_gap() -> None:
    """Zero stands for unknown; a film of 1950 is known."""
    assert age_gap(0, 1e12) == age_gap(1, 0.0) == 0.0
    assert age_gap(-(10**12), 1e12) == pytest.approx(math.log1p(2e12 / 8.64e7) / 2)


def test_ranks_start_at_zero_with_the_best() -> None:
    """Equal values keep their order."""
    out = np.zeros((1, 4), dtype=np.float32)
    fill_ranks(np.array([1.0, 3.0, 1.0, 2.0]), out, 0)
    assert out[0].tolist() == pytest.approx([math.log1p(rank) / 4 for rank in (2, 0, 3, 1)])


def test_as_many_columns_as_names() -> None:
    """The counts that compiled code goes by are those of the names."""
    features = FeaturesConfig()
    spans = len(features.half_lives_s)
    assert num_fixed_inputs(spans) + 1 == len(ranker_input_names(features))
    assert (
        num_pre_ranker_inputs(spans) == len(pre_ranker_input_names(features)) == len(first_pre_ranker_weights(features))
    )


def test_services_are_named_by_the_version_that_is_configured() -> None:
    """Raising it makes another contract and another schema."""
    old, new = FeaturesConfig(), FeaturesConfig(service_version=3)
    assert (user_service(old), item_service(new)) == ("ranker_user_v2", "ranker_item_v3")
    assert feature_schema_hash(old) != feature_schema_hash(new)
