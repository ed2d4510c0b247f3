"""The in-process twin of declared features gives what the plain replay gives, as Flink must too (`test_oracle.py`).

So whoever declares a feature has its parity test: what `headrace.yaml` declares is laid under `declared.yaml` in both.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from features.config import load_app_config
from features.declared_features import ENTITIES, of_entity
from features.declared_table import CountedEvent, DeclaredTable
from tests.oracle.oracle_stack import EVENTS, write_config
from tests.oracle.plain_events import Json, Record, events_of
from tests.oracle.plain_replay import rows_of
from tests.oracle.stream_maker import make_stream

NOW_MS = 1_790_000_000_000
KEYS = {"user": "user_id", "item": "item_id"}


def events(seed: int, config: Any) -> list[Json]:
    """The good events of a stream of the oracle, each once."""
    steps = [step for step in make_stream(seed, "twin", NOW_MS).steps if step.topic == EVENTS]
    records = [Record(EVENTS, step.partition, at, NOW_MS, step.key, step.value) for at, step in enumerate(steps)]
    return list(events_of(records, config)[0].values())


@pytest.mark.parametrize("seed", range(1, 6))
def test_every_declared_feature_equals_a_plain_replay(seed: int, tmp_path: Path) -> None:
    """Of every aggregation, over all time, decayed and windowed, for every entity; whatever the order of events."""
    path = write_config(tmp_path)
    config, declared = yaml.safe_load(path.read_text()), load_app_config(path).features.declared
    own = events(seed, config)
    rows = rows_of(own, {}, {}, config)
    random.Random(seed).shuffle(own)
    compared = 0
    for entity in ENTITIES:
        for entity_id, of_one in _grouped(own, entity).items():
            table = DeclaredTable(of_entity(declared, entity))
            for one in of_one:
                table.add_event(0, _counted(one))
            expected = [rows[f"{entity}_activity", entity_id][name] for name in of_entity(declared, entity)]
            np.testing.assert_allclose(table.row(0), np.concatenate(expected), rtol=1e-12, err_msg=entity_id)
            compared += len(expected)
    assert compared > 500


def _grouped(own: list[Json], entity: str) -> dict[str, list[Json]]:
    groups: dict[str, list[Json]] = {}
    for one in own:
        groups.setdefault(one[KEYS[entity]] if entity in KEYS else "all", []).append(one)
    return groups


def _counted(event: Json) -> CountedEvent:
    names = ("event_id", "user_id", "item_id", "action", "value", "event_time_ms")
    return CountedEvent(**{name: event[name] for name in names})
