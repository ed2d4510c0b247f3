"""What ops may write and what they are told, without a broker."""

from __future__ import annotations

from pathlib import Path

import pytest
from kafka.errors import KafkaError

from compose.config import load_headrace_config
from compose.errors import NotHeldError, StackNotRunningError
from compose.quality import QualityDesk, parse_window, window_name
from features.config import ConfigError
from features.quality.hold_table import RELEASE_ORDER


@pytest.mark.parametrize(
    "text", ["2026-01-05T12:03:00Z", "2026-01-05T12:03:00", "2026-01-05 13:03+01:00", "1767614580000"]
)
def test_window_is_named_by_time_or_milliseconds(text: str) -> None:
    """As the list prints it, without a zone (UTC), in another zone, or as a number."""
    assert window_name(parse_window(text)) == "2026-01-05T12:03:00Z"


@pytest.mark.parametrize("text", ["yesterday", "99999999999999999999"])
def test_what_is_no_window_is_told(text: str) -> None:
    """The message shows the value and where to find a good one."""
    with pytest.raises(NotHeldError, match=f"'{text}' is no window; give a start as `headrace quality list`"):
        parse_window(text)


def test_dead_kafka_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence with the address, exit code 3."""

    def refuse(**_settings: object) -> None:
        raise KafkaError("no broker")

    monkeypatch.setattr("compose.quality.KafkaConsumer", refuse)
    desk = QualityDesk("127.0.0.1:1", "headrace")
    with pytest.raises(StackNotRunningError, match=r"Kafka at 127.0.0.1:1 does not answer"):
        desk.order(RELEASE_ORDER, 0, 0)


def test_unknown_rule_stops_the_stack_before_it_starts(tmp_path: Path) -> None:
    """A misspelt rule is found when the whole file is checked, with the name that was meant."""
    path = tmp_path / "headrace.yaml"
    path.write_text("actions: {click: {outcome: positive}}\nquality: {rules: {label_rat: {z: 9}}}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="no rule is called 'label_rat' \\(did you mean 'label_rate'"):
        load_headrace_config(path)
