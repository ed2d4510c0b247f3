"""Calls every compiled function once with the types of production, so that no user waits for the compiler.

`python -m trainer.warm_up` calls this too and fills the cache beside the source, as `make setup` does: a process is
then warm in seconds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from features.candidate_pool import Workspace
from features.candidates import UserRows, build_list, list_context
from features.config import FeaturesConfig
from features.count_tables import CountTables
from features.counter_rows import NUMBERS_PER_HALF_LIFE, decay_rows
from features.declared_table import CountedEvent
from features.item_summary import ItemSummary
from features.item_table import ItemTable
from features.model_inputs import first_pre_ranker_weights
from features.short_floats import json_rows
from features.tower_scores import TowerQuery
from features.user_state import UserTable

PACKAGE = Path(__file__).parent
"""Beside it lies the compiled code."""
_NOW_MS = 1_700_000_000_000


def warm_up() -> None:
    """Count, cut and fill for a made-up user of three items, as a trainer does and as a server does."""
    features = FeaturesConfig()
    items, users, counts = ItemTable(features), UserTable(features), CountTables.empty(features)
    for row, item_id in enumerate(("a", "b", "c")):
        items.set_item(item_id, ["x"], published_time_ms=_NOW_MS)
        counts.titles.set_title(row, "one title")
        counts.count_event(row, _NOW_MS)
        counts.count_following(np.arange(row, dtype=np.int64), row)
        event = CountedEvent(item_id, "u", item_id, "", None, _NOW_MS)
        items.add_event(row, event, 1)
        users.add_event(event, ["x"], 1)
    items.add_shown(["a"], _NOW_MS)
    users.add_shown("u", "r", _NOW_MS, ["a"])
    json_rows(np.ones((1, 1), dtype=np.float32))
    decay_rows(np.ones((1, len(features.half_lives_s), NUMBERS_PER_HALF_LIFE)), features.half_lives_s, _NOW_MS)
    rows = np.arange(3)
    summary, user = ItemSummary.of_table(items, _NOW_MS), users.state("u", _NOW_MS)
    user_rows = UserRows(items.rows_of(user.history_item_ids), rows[:1], items.rows_of(user.shown_item_ids))
    tower = TowerQuery(np.zeros(4, dtype=np.float32), np.zeros((3, 4), dtype=np.float32))
    for tables in (counts, CountTables.from_arrays(counts.arrays(3))):
        context, workspace = list_context(summary, items, tables, rows, rows), Workspace()
        weights = first_pre_ranker_weights(features)
        build_list(user, user_rows, context, _NOW_MS, tower, features, weights, workspace)
        build_list(user, user_rows, context, _NOW_MS, None, features, weights, workspace, given_rows=rows)
