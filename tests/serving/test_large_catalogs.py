"""Laws of catalogues so large that a pass over all items must not stop the event loop."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from features.declared_table import CountedEvent
from features.item_summary import ItemSummary
from features.item_table import ItemTable
from serving import catalog
from serving.catalog import Catalog, CatalogKeeper
from serving.serving_model import ServingModel
from tests.serving.serving_parts import ITEM_IDS, World

NOW_MS = 1_000_000


@pytest.fixture
async def model(world: World, monkeypatch: pytest.MonkeyPatch) -> ServingModel:
    """Return a served version; every catalogue is a large one."""
    monkeypatch.setattr(catalog, "_AT_ONCE", 0)
    await world.serve("1.1")
    live = world.models.live
    assert live is not None
    return live


def made_anew(catalogs: CatalogKeeper, model: ServingModel, now_ms: int) -> Catalog:
    """Return the catalog when the thread has made sums, and lines of them."""
    for maker in (catalogs._summaries, catalogs):
        catalogs.at(model, now_ms)
        if (making := maker._beside._making) is not None:  # Else it is made and taken over already.
            making.result()
    return catalogs.at(model, now_ms)


def click(world: World, row: int) -> None:
    """Count one positive event."""
    world.items.add_event(row, CountedEvent("", "", ITEM_IDS[row], "click", None, NOW_MS), 1)


async def test_requests_go_on_with_the_sums_before_until_new_ones_are_made(world: World, model: ServingModel) -> None:
    """And then have the very sums that a small catalogue would have at once."""
    catalogs = world.stages.catalogs
    before = catalogs.at(model, NOW_MS)
    click(world, 3)
    assert catalogs.at(model, NOW_MS + 500) is before
    after = made_anew(catalogs, model, NOW_MS + 500)
    assert after.context.summary.totals[0, 1] > before.context.summary.totals[0, 1]
    fresh = CatalogKeeper(catalogs._features, world.items, catalogs._summaries, catalogs._rules).at(model, NOW_MS + 500)
    np.testing.assert_array_equal(fresh.context.lines.numbers, after.context.lines.numbers)


async def test_new_version_takes_over_what_was_made_for_the_last_one(world: World, model: ServingModel) -> None:
    """Items that it adds get a line of their own, without counts, and may be shown."""
    catalogs = world.stages.catalogs
    older = dataclasses.replace(model, item_ids=model.item_ids[:-1], table_rows=model.table_rows[:-1])
    before, after = catalogs.at(older, NOW_MS), catalogs.at(model, NOW_MS)
    assert after.context.lines.numbers[:-1].tobytes() == before.context.lines.numbers.tobytes()
    assert (after.model is model, bool(after.context.is_listable[-1]), after.context.popularity[-1]) == (
        True,
        True,
        0.0,
    )
    again = catalogs.at(dataclasses.replace(model), NOW_MS)
    assert again.context.lines is after.context.lines


async def test_newest_item_is_fresh_as_soon_as_a_version_has_it(world: World, model: ServingModel) -> None:
    """The sums know it from its record; they are not made anew for the version that brings it."""
    catalogs, last = world.stages.catalogs, len(ITEM_IDS) - 1
    world.items.set_item(ITEM_IDS[last], [], published_time_ms=NOW_MS - 1)
    older = dataclasses.replace(model, item_ids=model.item_ids[:-1], table_rows=model.table_rows[:-1])
    assert last not in catalogs.at(older, NOW_MS).context.fresh
    assert catalogs.at(model, NOW_MS).context.fresh.tolist() == [last]


async def test_version_without_new_items_costs_no_pass_over_them(world: World, model: ServingModel) -> None:
    """Only what the version itself holds is another."""
    catalogs = world.stages.catalogs
    before, after = catalogs.at(model, NOW_MS), catalogs.at(dataclasses.replace(model), NOW_MS)
    assert after.rows_of_table is before.rows_of_table
    for name in ("is_listable", "popularity", "lines", "leaders"):
        assert getattr(after.context, name) is getattr(before.context, name)
    assert after.context.counts is after.model.counts


async def test_nothing_is_gathered_while_sums_are_in_the_making(
    world: World, model: ServingModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they are made of takes a pass over all items too."""
    catalogs, gathered, may_end = world.stages.catalogs, [], threading.Event()
    catalogs.at(model, NOW_MS)
    look, add = ItemTable.available, ItemSummary.of

    def counted(table: ItemTable, now_ms: int) -> NDArray[np.bool_]:
        gathered.append(now_ms)
        return look(table, now_ms)

    monkeypatch.setattr(ItemTable, "available", counted)
    monkeypatch.setattr(ItemSummary, "of", lambda inputs: may_end.wait(60) and add(inputs))
    for _ in range(5):
        catalogs.at(model, NOW_MS + 500)
    may_end.set()
    assert gathered == [NOW_MS + 500]


async def test_first_sums_are_made_before_the_first_request(world: World, model: ServingModel) -> None:
    """With a million items they take a quarter of a second."""
    world.recommender.prepare()
    assert world.stages.catalogs._kept is not None


async def test_removed_item_is_gone_within_a_second_while_sums_are_made(world: World, model: ServingModel) -> None:
    """Sums that were begun before do not bring it back."""
    catalogs = world.stages.catalogs
    catalogs.at(model, NOW_MS)
    catalogs.at(model, NOW_MS + 500)
    world.items.remove_item(ITEM_IDS[7])
    after = made_anew(catalogs, model, NOW_MS + 1000)
    assert np.flatnonzero(~after.context.is_listable).tolist() == [7]


async def test_sums_that_cannot_be_made_leave_those_before(
    world: World, model: ServingModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, and tried again."""
    catalogs = world.stages.catalogs
    before = catalogs.at(model, NOW_MS)
    with monkeypatch.context() as broken:
        broken.setattr(ItemSummary, "of", lambda inputs: 1 / 0)
        catalogs.at(model, NOW_MS + 500)
        making = catalogs._summaries._beside._making
        assert making is not None
        with pytest.raises(ZeroDivisionError):
            making.result()
    assert catalogs.at(model, NOW_MS + 500) is before
    assert "could not make a newer one" in caplog.text
    assert made_anew(catalogs, model, NOW_MS + 500) is not before
