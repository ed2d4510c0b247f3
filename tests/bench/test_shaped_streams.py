"""The made-up streams are what they say: of their seed, in time order, of their shape."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.bench.learning_data import DataSet
from tests.bench.shaped_streams import SHAPES, fast_dying, long_tail, news


@pytest.fixture(
    params=[lambda: news(1, lists=200), lambda: fast_dying(1, events=600), lambda: long_tail(1, events=600)]
)
def data(request: pytest.FixtureRequest) -> DataSet:
    """One small stream of each shape."""
    made: DataSet = request.param()
    return made


def test_a_stream_is_in_time_order_and_its_items_have_records(data: DataSet) -> None:
    """So that the learner is told of every item."""
    times = [entry.time_ms for entry in data.stream.entries]
    assert times == sorted(times)
    shown = {item.item_id for entry in data.stream.entries for item in entry.sample.items}
    assert shown <= set(data.stream.item_records)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_stream_is_a_function_of_its_seed(shape: str) -> None:
    """Runs can be repeated, and there is more than one stream of a shape."""
    makers = {"news": news, "fast-dying": fast_dying, "long-tail": long_tail}
    first, again, other = (makers[shape](seed, 100).stream.entries for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_news_are_lists_of_ten_whose_clicks_correct_them() -> None:
    """As an app logs them."""
    kinds = Counter(entry.sample.kind for entry in news(1, lists=200).stream.entries)
    assert kinds["impression"] == 200
    assert kinds["correction"] > 40
    assert kinds["organic"] == 0


def test_the_long_tail_has_no_head() -> None:
    """The most popular item has less than a hundredth of the events."""
    chosen = Counter(entry.sample.items[0].item_id for entry in long_tail(1, events=2000).stream.entries)
    assert chosen.most_common(1)[0][1] < 20
