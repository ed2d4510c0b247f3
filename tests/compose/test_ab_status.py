"""Laws of `headrace ab status`: what is counted for which arm, and what is said where there is nothing to count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from compose.ab_status import print_report, report_experiment
from compose.cli import main
from compose.errors import NoExperimentError
from compose.experiment_lists import SERVED_TOPIC, read_experiments
from features.config import ActionConfig, AppConfig
from serving.arms.feedback import SAMPLES_TOPIC
from serving.config import ArmConfig, ServingConfig

APP = AppConfig(
    actions={
        "click": ActionConfig(outcome="positive"),
        "buy": ActionConfig(outcome="positive", reward=5.0),
        "hide": ActionConfig(outcome="negative", reward=0.5),
    }
)
SPRING = ServingConfig(experiment="spring", arms={"old": ArmConfig(share=0.5), "new": ArmConfig(share=0.5)})


def served(request: str, user: str, arm: str = "old", **changes: Any) -> bytes:
    """Return one record of a list."""
    record = {"request_id": request, "user_id": user, "served_time_ms": 1_000, "learn": True, "arm": arm}
    return json.dumps(record | {"experiment": "spring", "items": [{"row": [1.0]}]} | changes).encode()


def correction(request: str, event: str, action: str = "click", outcome: int = 1, **changes: Any) -> bytes:
    """Return one record of feedback on a list."""
    record = {"kind": "correction", "request_id": request, "event_id": event, "action": action, "outcome": outcome}
    return json.dumps(record | changes).encode()


def test_feedback_earns_for_the_arm_of_its_list() -> None:
    """Positives add, negatives take off; what is repeated, broken or of another kind counts for nothing."""
    lists = [
        *(served("r1", "ann"), served("r1", "ann"), served("r2", "bob", "new")),
        *(served("r3", "ann", learn=False), served("r4", "cem", experiment="", arm=""), b"{", None),
    ]
    samples = [
        *(correction("r1", "e1"), correction("r1", "e1"), correction("r1", "e2", "buy")),
        *(correction("r2", "e3", "hide", -1), correction("r2", "e4", "view", 0), correction("r4", "e5")),
        *(correction("r3", "e6"), correction("r9", "e7"), correction("r1", "e8", kind="organic"), b"?", None),
    ]
    arms = read_experiments(lists, samples, APP)["spring"].arms
    old, new = arms["old"], arms["new"]
    assert (old.requests, len(old.users), old.reward.lists, old.reward.amount) == (2, 1, 1, 6.0)
    assert (new.requests, len(new.users), new.reward.lists, new.reward.amount) == (1, 1, 1, -0.5)


def experiment_of(lift: float) -> dict[str, Any]:
    """Return 600 users with five lists each, whose clicks differ by arm."""
    random = np.random.default_rng(3)
    lists, samples = [], []
    for user in range(600):
        arm, taste = ("old", "new")[user % 2], random.random() * 0.5
        for number in range(5):
            request = f"{user}-{number}"
            lists.append(served(request, f"user-{user}", arm))
            if random.random() < taste + lift * (user % 2):
                samples.append(correction(request, request))
    return read_experiments(lists, samples, APP)


def test_report_tells_a_difference_and_none_where_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    """The declared first arm is the control; intervals hold their means; p is small exactly where arms differ."""
    report, null = report_experiment(experiment_of(0.3), SPRING), report_experiment(experiment_of(0.0), SPRING)
    control, new = report.arms
    assert (report.control, control.arm, control.p_value, new.arm, new.users) == ("old", "old", None, "new", 300)
    assert new.p_value is not None
    assert new.difference_low is not None
    assert new.reward_low is not None
    assert new.p_value < 0.001
    assert 0.0 < new.difference_low < (new.difference or 0.0)
    assert new.reward_low < new.reward
    assert (null.arms[1].p_value or 0.0) > 0.05
    print_report(report)
    assert "control" in capsys.readouterr().out


def test_newest_experiment_is_told_and_others_are_named() -> None:
    """Users who were in two arms are counted; a canary is compared with what stood beside it."""
    lists = [
        *(served("r1", "ann"), served("r2", "ann", "new"), served("r3", "bob", "canary", experiment="canary-1.2")),
        served("r4", "cem", "stable", experiment="canary-1.2", served_time_ms=2_000),
    ]
    found = read_experiments(lists, [], APP)
    report = report_experiment(found, SPRING)
    assert (report.experiment, report.control, report.other_experiments) == ("canary-1.2", "stable", ["spring"])
    assert report_experiment(found, SPRING, "spring").users_of_several_arms == 1
    assert msgspec.json.decode(json.dumps(report.to_json()))["arms"][1]["difference_low"] is None


@pytest.mark.parametrize(
    ("lists", "serving", "name", "sentence"),
    [
        ([], ServingConfig(), "", "declare one with serving.experiment"),
        ([], SPRING, "", "declares the experiment 'spring', but no list"),
        ([served("r1", "ann")], SPRING, "summer", "there are lists of spring"),
    ],
)
def test_no_experiment_is_told_with_what_to_do(
    lists: list[bytes], serving: ServingConfig, name: str, sentence: str
) -> None:
    """Not an empty table."""
    with pytest.raises(NoExperimentError, match=sentence):
        report_experiment(read_experiments(lists, [], APP), serving, name)


def test_command_prints_json_and_its_own_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through the command line, over topics that hold a list, and over empty ones."""
    topics = {SERVED_TOPIC: [served("r1", "ann"), served("r2", "bob", "new")], SAMPLES_TOPIC: [correction("r1", "e1")]}

    def scan(_kafka: str, topic: str, _since_ms: int | None) -> list[Any]:
        return [msgspec.defstruct("Record", ["value"])(value) for value in topics[topic]]

    monkeypatch.setattr("compose.topic_scan.scan_topic", scan)
    endpoints = tmp_path / "endpoints.json"
    endpoints.write_text(json.dumps({"kafka": "127.0.0.1:1", "redis": "127.0.0.1:1", "model_store": "m", "state": "s"}))
    arguments = ["ab", "status", "--json", "--endpoints", str(endpoints), "--hours", "2"]
    with pytest.raises(SystemExit):
        main(arguments)
    assert json.loads(capsys.readouterr().out)["arms"][1]["reward"] == 1.0
    topics[SERVED_TOPIC] = []
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert (ended.value.code, "serving.arms" in capsys.readouterr().err) == (11, True)
