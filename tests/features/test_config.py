"""The configuration says in one sentence what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.config import (
    ActionConfig,
    AppConfig,
    ConfigError,
    FeaturesConfig,
    load_app_config,
    load_section,
    validate,
)
from features.yaml_file import parse_yaml

ACTIONS = {"like": {"outcome": "positive"}}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"actions": {"like": {"outcom": "positive"}}}, "did you mean 'outcome'"),
        ({"actions": ACTIONS, "features": {"half_life_s": [1]}}, "did you mean 'half_lives_s'"),
        ({"actions": {"view": {}}}, "none can be positive"),
        ({"actions": ACTIONS, "features": {"half_lives_s": [60, 10]}}, "must ascend"),
        ({"actions": {"rate": {"positive_when": "value is big"}}}, "write for example 'value >= 4'"),
        ({"actions": ACTIONS, "name": "Bad Name"}, "name"),
        ({"actions": {**ACTIONS, "a\nb": {}}}, r"'a\\nb' is an action that no event can carry"),
        ({"actions": {**ACTIONS, "": {}}}, "'' is an action that no event can carry"),
        ({"actions": {**ACTIONS, "ü" * 65: {}}}, "name it in 1 to 128 bytes"),
        ({"actions": ACTIONS, "features": {"horizon_h": float("inf")}}, "horizon_h"),
        ({"actions": ACTIONS, "features": {"horizon_h": 200}}, "horizon_h: .* 168"),
        ({"actions": ACTIONS, "features": {"clock_skew_s": float("inf")}}, "clock_skew_s"),
        ({"actions": {True: {"outcome": "positive"}}}, r"actions\.a name in it: must be text, put it in quotes .*True"),
        ({"actions": ["like"]}, r"actions: must be a mapping of keys to values \(got \['like'\]\)"),
        ({"actions": {"like": "positive"}}, r"actions\.like: must be a mapping of keys to values"),
        ({"actions": ACTIONS, "name": 5}, r"name: must be text, put it in quotes \(got 5\)"),
        ({"actions": ACTIONS, "features": {"half_lives_s": 60}}, r"half_lives_s: must be a list, write \[60\]"),
    ],
)
def test_a_bad_value_is_named_with_its_mend(data: dict[str, object], said: str) -> None:
    """Each planted mistake is refused with a sentence that helps."""
    with pytest.raises(ConfigError, match=said):
        validate(data, AppConfig, "headrace.yaml")


def test_an_unknown_section_is_refused(tmp_path: Path) -> None:
    """A misspelt top-level key is no silent default."""
    path = tmp_path / "headrace.yaml"
    path.write_text("actons: {}\n")
    with pytest.raises(ConfigError, match="did you mean 'actions'"):
        load_app_config(path)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    """The message names the file and the flag."""
    with pytest.raises(ConfigError, match="name another file with --config"):
        load_app_config(tmp_path / "none.yaml")


def test_a_file_in_another_encoding_is_one_sentence(tmp_path: Path) -> None:
    """Editors that save Latin-1 are told where and what to do."""
    path = tmp_path / "headrace.yaml"
    path.write_bytes("name: caf\u00e9\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="byte 0xe9 at 9, not UTF-8; save it as UTF-8"):
        load_app_config(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [a", r"line 1, column 9: expected"),
        ("name: a\x00", "special characters are not allowed"),
        ("features:\n  declared:\n    user_x: {}\n    user_x: {}", "line 4, column 5: the key 'user_x' stands twice"),
        ("actions: {like: {outcome: positive, outcome: negative}}", "the key 'outcome' stands twice, take one away"),
    ],
)
def test_broken_yaml_is_one_line_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    """A key that stands twice is broken too: the first of two features would be lost in silence."""
    path = tmp_path / "headrace.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"is not valid YAML: .*{said}") as refused:
        load_app_config(path)
    assert "\n" not in str(refused.value)


def test_what_an_anchor_brings_may_be_overridden() -> None:
    """YAML's own merge is no repetition."""
    data = parse_yaml("base: &base {a: 1, b: 2}\nfirst: {<<: *base, b: 3}\nsecond: {<<: *base, b: 4}")
    assert (data["first"], data["second"]) == ({"a": 1, "b": 3}, {"a": 1, "b": 4})


@pytest.mark.parametrize("value", ["immediate", "[a]", "5", "yes"])
def test_a_section_that_is_no_mapping_is_one_sentence(value: str, tmp_path: Path) -> None:
    """No traceback, whatever stands there."""
    path = tmp_path / "headrace.yaml"
    path.write_text(f"features: {value}\n")
    with pytest.raises(ConfigError, match="features must be a mapping of its keys to values, not "):
        load_section(path, "features", FeaturesConfig)


def test_a_broken_override_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the variable."""
    path = tmp_path / "headrace.yaml"
    path.write_text("{}\n")
    monkeypatch.setenv("HEADRACE_FEATURES_HISTORY_LENGTH", "[20")
    with pytest.raises(ConfigError, match="HEADRACE_FEATURES_HISTORY_LENGTH is not valid YAML"):
        load_section(path, "features", FeaturesConfig)


def test_the_environment_overrides_a_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HEADRACE_FEATURES_HISTORY_LENGTH wins over the file."""
    path = tmp_path / "headrace.yaml"
    path.write_text("features: {history_length: 10}\n")
    monkeypatch.setenv("HEADRACE_FEATURES_HISTORY_LENGTH", "20")
    assert load_section(path, "features", FeaturesConfig).history_length == 20


def test_outcome_follows_the_conditions() -> None:
    """A rating of 4 is positive, of 2 negative, without a value neutral."""
    action = ActionConfig(positive_when="value >= 4", negative_when="value <= 2")
    assert [action.outcome_of(value) for value in (4.0, 2.0, 3.0, None)] == [1, -1, 0, 0]
