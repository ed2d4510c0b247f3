"""What the trainer's own code has learnt of a stream is the oracle's set: not one label more or less.

A sample job that is killed sends samples again, and sends them in another order: so each comes twice, anywhere.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from features.config import load_app_config
from features.label_config import Labels, load_labels
from features.model_inputs import ranker_input_names
from tests.oracle.oracle_stack import EVENTS, SERVED, write_config
from tests.oracle.plain_events import Json, Record, events_of, lists_of
from tests.oracle.plain_samples import SHOWN, learnt_of, samples_of
from tests.oracle.stream_maker import make_stream
from trainer.config import LearnerConfig
from trainer.online_learner import OnlineLearner
from trainer.samples import HEAD, decode_sample, label_key

NOW_MS, COPIES = 1_790_000_000_000, 2


@pytest.mark.parametrize("seed", [1, 2])
def test_the_set_that_is_learnt_equals_the_oracles(seed: int, tmp_path: Path) -> None:
    """By (request, item, head, value), and each event once, in micro-batches of any size."""
    path = write_config(tmp_path)
    app = load_app_config(path)
    labels = load_labels(path, app)
    samples = _samples(seed, yaml.safe_load(path.read_text()))
    learner = OnlineLearner(app, LearnerConfig(embedding_dim=8, retrieval_negatives=16), labels=labels)
    width, schema_hash = len(ranker_input_names(app.features)), learner.schema_hash
    messages = [_message(sample, width, schema_hash) for sample in samples] * COPIES
    rng = random.Random(seed)
    rng.shuffle(messages)
    while messages:
        size = rng.randrange(1, 40)
        learner.learn_batch([decode_sample(message) for message in messages[:size]])
        del messages[:size]
    assert learner.progress.refused == {}
    assert len(learnt_of(samples)) > 300
    assert {*_label_keys(samples), *_bookkeeping(samples, labels)} == set(map(bytes, learner.learnt_once.array()))


def _samples(seed: int, config: Json) -> list[Json]:
    """Every sample that must come out of a stream of the oracle, each once."""
    steps = make_stream(seed, "learnt", NOW_MS).steps
    records = [Record(step.topic, step.partition, at, NOW_MS, step.key, step.value) for at, step in enumerate(steps)]
    events = events_of([record for record in records if record.topic == EVENTS], config)[0]
    lists = lists_of([record for record in records if record.topic == SERVED])
    return list(samples_of(list(events.values()), lists, config).values())


def _message(sample: Json, width: int, schema_hash: str) -> bytes:
    """A sample as it travels, with rows as a ranker of today logs them: those of the stream are of another shape."""
    items = [item | {"row": [0.5] * width} for item in sample["items"]]
    return json.dumps(sample | {"items": items, "feature_schema_hash": schema_hash}).encode()


def _label_keys(samples: list[Json]) -> Iterator[bytes]:
    """What was learnt of lists, as the oracle says it; a shown item is a negative of the ranker's one output."""
    for request_id, item_id, head, value in learnt_of(sample for sample in samples if sample["kind"] != "organic"):
        yield label_key(request_id, item_id, HEAD if head == SHOWN else head, int(value))


def _bookkeeping(samples: list[Json], labels: Labels) -> Iterator[bytes]:
    """What the trainer notes beside: every event, every shown list, and what is wanted by any head."""
    for sample in samples:
        item, request_id = sample["items"][0], sample.get("request_id", "")
        if sample["kind"] == "impression":
            yield label_key(request_id, "", "shown", 0)
            continue
        yield label_key(sample["event_id"], item["item_id"], "event", sample.get("outcome", 0))
        for head, value in item.get("labels", {}).items() if sample["kind"] == "correction" else ():
            yield label_key(request_id, "", "told", 0)
            if value and labels.weight_of(head, value):
                yield label_key(request_id, item["item_id"], HEAD, 1)
