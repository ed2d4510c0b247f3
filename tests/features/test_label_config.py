"""The `labels` section: what it means, and what it says of values that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.config import ConfigError, load_app_config
from features.label_config import Labels, load_labels
from tests.running_stack import ROOT

ACTIONS = """
actions:
  view: {outcome: neutral}
  click: {outcome: positive}
  dismiss: {outcome: negative, reward: 0.5}
  rating: {outcome: neutral, positive_when: "value >= 4", negative_when: "value < 2", reward: 3}
"""


def _labels(tmp_path: Path, labels: str = "") -> Labels:
    path = tmp_path / "headrace.yaml"
    path.write_text(ACTIONS + (f"labels:\n{labels}" if labels else ""))
    return load_labels(path, load_app_config(path))


def test_without_heads_every_action_with_an_outcome_is_one(tmp_path: Path) -> None:
    """Its name is the head, its outcome the value, its reward the weight; a neutral action teaches nothing."""
    labels = _labels(tmp_path)
    said = [labels.labels_of(*e) for e in (("click", None, 1), ("rating", 5, 1), ("rating", 1, -1), ("view", 9, 0))]
    assert said == [{"click": 1.0}, {"rating": 1.0}, {"rating": 0.0}, {}]
    assert [labels.weight_of(head, value) for head, value in (("dismiss", 0), ("rating", 1))] == [0.5, 3.0]


def test_the_shipped_file_keeps_its_labels() -> None:
    """One head per positive or negative action, at once."""
    app = load_app_config(ROOT / "headrace.yaml")
    labels = load_labels(ROOT / "headrace.yaml", app)
    heads = {rule.head: rule.value for rule in labels.rules}
    assert heads == {"click": 1, "like": 1, "purchase": 1, "dislike": 0, "dismiss": 0, "rating": 1}
    assert (labels.policy, labels.horizon_ms) == ("immediate", 86_400_000)


def test_declared_heads_take_the_place_of_the_actions(tmp_path: Path) -> None:
    """A long view teaches; a click without a head does not, whatever its outcome."""
    labels = _labels(tmp_path, "  heads: {dwell: {actions: [view, rating], when: 'value >= 30', weight: 2}}")
    said = [labels.labels_of(*event) for event in (("view", 30, 0), ("view", 29.9, 0), ("view", None, 0))]
    assert said == [{"dwell": 1.0}, {}, {}]
    assert labels.labels_of("click", None, 1) == {}
    assert (labels.weight_of("dwell", 1), labels.weight_of("gone", 1)) == (2.0, 1.0)


def test_a_list_waits_for_its_slowest_positive(tmp_path: Path) -> None:
    """A negative head's window keeps nothing back."""
    heads = (
        "{a: {actions: [click]}, b: {actions: [view], window_s: 90}, c: {actions: [dismiss], value: 0, window_s: 99}}"
    )
    assert _labels(tmp_path, f"  window_s: 5\n  heads: {heads}").window_s == 90


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("  windows: 5", r"unknown key 'windows' \(did you mean 'window_s'\?\)"),
        ("  policy: later", r"policy: unknown value 'later' \(known: immediate, wait\)"),
        ("  heads: {a: {action: [click]}}", r"unknown key 'heads.a.action' \(did you mean 'actions'\?\)"),
        ("  heads: {a: {actions: [clik]}}", r"heads.a.actions: unknown action 'clik' \(did you mean 'click'\?\)"),
        ("  heads: {a: {actions: []}}", "heads.a.actions"),
        ("  heads: {a: {actions: [view], when: long}}", "'long' is not a condition; write for example"),
        ("  heads: {a: {actions: [dismiss], value: 0}}", "none has `value: 1`"),
        ("  heads: {a: {actions: [click], value: 2}}", "heads.a.value"),
        ("  window_s: 7200\n  correction_horizon_h: 1", r"labels.window_s is 7200 s, but .*3600 s.*lower the one"),
        ("  heads: {a: {actions: [click], window_s: 90000}}", "labels.heads.a.window_s is 90000 s"),
        ("  correction_horizon_h: 0", "correction_horizon_h"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(tmp_path: Path, labels: str, message: str) -> None:
    """The file, the key, the value and the mend."""
    with pytest.raises(ConfigError, match=message) as caught:
        _labels(tmp_path, labels)
    assert str(caught.value).startswith(str(tmp_path / "headrace.yaml"))
    assert "\n" not in str(caught.value)
