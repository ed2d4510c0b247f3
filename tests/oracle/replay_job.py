"""A second feature job beside the first, that reads the same log from its start; and the newest rows of a job."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from compose.next_topics import NextTopics
from features.config import load_app_config
from streams.flink_rest import FlinkRest
from streams.kafka_tables import dead_letters_topic
from tests.oracle.checker import is_same, is_same_category
from tests.oracle.oracle_stack import VIEWS, OracleStack, TopicLog
from tests.running_stack import ROOT
from tests.streams.topic_io import row_reader

Rows = dict[tuple[str, str], bytes]


def topic_of(view: str, suffix: str = "") -> str:
    """Return the topic of a view's rows."""
    return f"headrace.features.{view}{suffix}.v1"


@contextmanager
def replaying(stack: OracleStack, suffix: str) -> Iterator[str]:
    """Run a job whose topics end in `suffix`; give its consumer group."""
    topics = [dead_letters_topic(suffix), *(topic_of(view, suffix) for view in VIEWS)]
    NextTopics(stack.endpoints.kafka, topics).create()
    places = ["--config", str(stack.config_path), "--endpoints", str(stack.local.endpoints_path)]
    command = [sys.executable, "-m", "streams", *places, "--job", "feature", "--suffix", suffix]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    name = f"{load_app_config(stack.config_path).name}-feature-job{suffix}"
    rest = FlinkRest(stack.endpoints.flink)
    try:
        yield name
    finally:
        rest.cancel(rest.live_jobs()[name])


def newest_rows(stack: OracleStack, suffix: str = "") -> Rows:
    """Return the newest row of every key by (view, entity id), as its bytes."""
    rows: Rows = {}
    for view in VIEWS:
        log = TopicLog(stack.endpoints.kafka, topic_of(view, suffix))
        rows |= {(view, record.key): record.value or b"" for record in log.read_new()}
        log.close()
    return rows


def differences(left: Rows, right: Rows, but: Sequence[str] = ()) -> list[str]:
    """Describe the rows that differ, declared features whose names hold one of `but` left out.

    Sums are the same up to the order of their additions; all else must be the same.
    """
    lines = [f"{name}: only on one side" for name in left.keys() ^ right.keys()]
    for name in left.keys() & right.keys():
        if left[name] != right[name]:
            pair = _fields(name[0], left[name], but), _fields(name[0], right[name], but)
            lines += [f"{name} {key}: {a} and {b}" for key, a, b in _pairs(*pair) if not _is_equal(key, a, b)]
    return sorted(lines)


def _is_equal(key: str, left: Any, right: Any) -> bool:
    return is_same_category(left, right) if key.startswith("category ") else is_same(left, right)


def _pairs(left: Any, right: Any) -> Iterator[tuple[str, Any, Any]]:
    for key in sorted(left.keys() | right.keys()):
        yield key, left.get(key, ()), right.get(key, ())


def _fields(view: str, row: bytes, but: Sequence[str]) -> dict[str, Any]:
    fields = row_reader(topic_of(view))(row)
    declared = fields.pop("features", None) or {}
    names, counts = fields.pop("category_names", ()), fields.pop("category_counts", ())
    categories = {f"category {name}": counts[7 * n : 7 * n + 7] for n, name in enumerate(names or ())}
    kept = {name: value for name, value in declared.items() if not any(part in name for part in but)}
    return dict(fields) | {"names": names} | categories | kept
