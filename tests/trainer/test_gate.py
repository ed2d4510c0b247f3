"""What the gate keeps and computes: nothing for checks that are off, each thing once for those that are on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.trainer.shuffled_streams import Shop
from trainer.config import GateConfig
from trainer.model import Model

BATCH = 10
"""Lists, of which the window holds 20 times as many; the first has settled behind the sixth batch."""


@pytest.fixture(scope="module")
def shops() -> dict[bool, Shop]:
    """The same stream behind a gate that compares and one that does not, a window of 20 batches judged."""
    found = {}
    for is_enabled in (False, True):
        shop = Shop(1, GateConfig(is_enabled=is_enabled, window_lists=20 * BATCH), BATCH, gap_ms=10_000)
        assert not shop.live(30 * BATCH)
        found[is_enabled] = shop
    return found


def test_cuts_are_confirmed_alike_where_nothing_is_compared(shops: dict[bool, Shop]) -> None:
    """What `reject` goes back to hangs on how much was judged, not on what it said."""
    good = {is_enabled: shop.gate.good_cut for is_enabled, shop in shops.items()}
    assert good[False] == good[True] > 1


def test_nothing_is_kept_for_checks_that_are_off(shops: dict[bool, Shop]) -> None:
    """No sums, nobody's reach, no weights; with the checks on there are all of them."""
    for is_enabled, shop in shops.items():
        blocks = shop.learner.metrics.judgement.blocks
        assert [bool(block.sums) for block in blocks.window] == [is_enabled] * 20
        assert bool(shop.gate.saved()["dense"]) is is_enabled
        assert (shop.learner.counters_score is not None) is is_enabled
        waiting = next(iter(shop.learner.metrics.settling._open.values()))
        assert bool(len(waiting.of_counters)) is is_enabled


def test_weights_are_copied_once_a_cut(shops: dict[bool, Shop], monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the cut is first judged and then followed; the next step is looked at anew."""
    copies: list[int] = []
    dense = Model.dense

    def counted(model: Model) -> Any:
        copies.append(1)
        return dense(model)

    monkeypatch.setattr(Model, "dense", counted)
    for is_enabled, shop in shops.items():
        copies.clear()
        shop.cut()
        assert len(copies) == 1, is_enabled
        shop.live(BATCH)
        assert len(copies) == 2, is_enabled
