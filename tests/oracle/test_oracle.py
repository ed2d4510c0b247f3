"""Seeded streams on the real stack, held against a plain replay of the log: not one event more or less."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from feast import FeatureStore

from features.config import load_app_config
from features.store import open_store
from tests.oracle.checker import Oracle
from tests.oracle.online_reader import JOIN_KEYS
from tests.oracle.oracle_stack import OracleStack, play, wait_settled
from tests.oracle.stream_maker import Kill, Stream, make_kills, make_stream

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]


def _played(stack: OracleStack, seed: int, kills: Sequence[Kill] = ()) -> Stream:
    now_ms = time.time_ns() // 1_000_000
    stream = make_stream(seed, f"{now_ms:x}", now_ms)
    print(stream.describe(), *kills)  # Shown where the test fails.
    play(stack, [stream], kills)
    wait_settled(stack)
    return stream


def test_every_value_equals_a_plain_replay(oracle_stack: OracleStack, oracle: Oracle) -> None:
    """Rows in Redis, consumed sets, samples and dead letters of a doubled, reordered, late and dirty stream."""
    findings = oracle.judge(_played(oracle_stack, 1).prefix)
    assert findings.is_equal, findings.report()
    assert min(findings.events, findings.samples, findings.labels, findings.letters) > 100


@pytest.mark.parametrize("seed", [2, 3])
def test_kills_change_no_value(oracle_stack: OracleStack, oracle: Oracle, seed: int) -> None:
    """The TaskManager at work and the ingester are killed with -9 while the stream comes."""
    findings = oracle.judge(_played(oracle_stack, seed, make_kills(seed)).prefix)
    assert findings.is_equal, findings.report()


def test_stock_feast_reads_the_same(oracle_stack: OracleStack, oracle: Oracle) -> None:
    """Every field of a row, through `get_online_features` of an unchanged `FeatureStore`."""
    stream = _played(oracle_stack, 4)
    store = open_store(oracle_stack.endpoints, load_app_config(oracle_stack.config_path))
    entities = {"user_id": f"{stream.prefix}u0", "item_id": f"{stream.prefix}i0", "scope": "all"}
    for view, join_key in JOIN_KEYS.items():
        found = _online(store, view, {join_key: entities[join_key]})
        assert len(found) > 1
        assert found == oracle.online.row(view, entities[join_key], found)


def _online(store: FeatureStore, view: str, entity: dict[str, str]) -> dict[str, object]:
    names = [field.name for field in store.get_feature_view(view).features]
    reply = store.get_online_features([f"{view}:{name}" for name in names], [entity]).to_dict()
    return {name: reply[name][0] for name in names}
