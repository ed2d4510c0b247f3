"""What the ranker sees of exposure."""

from __future__ import annotations

import math

import numpy as np
import pytest

from features.config import FeaturesConfig
from features.model_inputs import (
    PRIOR_CLICKS,
    exposure_inputs,
    feature_schema_hash,
    item_service,
    ranker_input_names,
    shown_inputs,
    user_service,
)
from tests.features.feature_records import NOW_MS

HOUR_MS = 3_600_000


def test_clicks_over_expected_clicks_tell_good_items_from_good_places() -> None:
    """Twice as many clicks as expected is above 0, half as many below, few lists stay near 0, none are 0."""
    exposure = np.array([[[100.0, 10.0, 20.0]], [[100.0, 10.0, 5.0]], [[1.0, 0.1, 0.2]], [[0.0, 0.0, 0.0]]])
    ratios = [math.log((clicks + PRIOR_CLICKS) / (expected + PRIOR_CLICKS)) for _, expected, clicks in exposure[:, 0]]
    inputs = exposure_inputs(exposure)
    assert inputs[:, 1].tolist() == pytest.approx(ratios)
    assert inputs[0, 1] > 0.5
    assert inputs[1, 1] < -0.5
    assert abs(inputs[2, 1]) < 0.05
    assert inputs[:, 0].tolist() == pytest.approx([math.log(101), math.log(101), math.log(2), 0.0])
    assert not inputs[3].any()


def test_exposure_inputs_lie_by_half_life() -> None:
    """Lists and the ratio of one half-life side by side, as they are named."""
    exposure = np.zeros((1, 4, 3))
    exposure[0, 2] = [math.e - 1.0, 0.0, 0.0]
    names = [name for name in ranker_input_names(FeaturesConfig()) if "_lists_" in name or "_over_expected_" in name]
    inputs = dict(zip(names, exposure_inputs(exposure)[0].tolist(), strict=True))
    assert inputs.pop("item_lists_decay_1h") == pytest.approx(1.0)
    assert not any(inputs.values())


def test_shown_items_say_how_often_and_how_lately() -> None:
    """The newest showing counts for the age; unknown items match nothing."""
    shown_rows = np.array([4, 7, -1, 4, 4])
    times_ms = NOW_MS - HOUR_MS * np.array([1, 2, 3, 5, 9])
    inputs = shown_inputs(np.array([7, 4, 5]), shown_rows, times_ms, NOW_MS)
    expected = [[math.log(2), math.log(3)], [math.log(4), math.log(2)], [0.0, 0.0]]
    np.testing.assert_allclose(inputs, expected)


def test_an_item_shown_ahead_of_the_clock_was_shown_just_now() -> None:
    """Two machines' clocks differ."""
    assert shown_inputs(np.array([1]), np.array([1]), np.array([NOW_MS + 500]), NOW_MS)[0, 1] == 0.0


def test_who_was_shown_nothing_has_zeros() -> None:
    """One row a candidate all the same."""
    nothing = np.zeros(0, np.int64)
    assert shown_inputs(np.arange(3), nothing, nothing, NOW_MS).tolist() == [[0.0, 0.0]] * 3


def test_services_are_named_by_the_version_that_is_configured() -> None:
    """Raising it makes another contract and another schema."""
    old, new = FeaturesConfig(), FeaturesConfig(service_version=3)
    assert (user_service(old), item_service(new)) == ("ranker_user_v2", "ranker_item_v3")
    assert feature_schema_hash(old) != feature_schema_hash(new)
