"""The metrics port of a part: loopback, tokens, and what is told behind it."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from features.config import Endpoints
from features.durations import Durations
from features.errors import StartupError
from features.ingester_metrics import IngesterMetrics
from features.ingester_stats import IngesterStats
from features.metrics_config import MetricsConfig
from features.security.config import SecurityConfig
from features.security.metrics_port import MetricsPort, start_part_metrics
from features.security.role import Role
from features.security.token_records import write_tokens
from features.security.tokens import new_token

ENDPOINTS = Endpoints(kafka="", redis="", model_store="", state="", metrics={"trainer": "127.0.0.1:9"})


def started(state_dir: Path, address: str = "127.0.0.1:0") -> MetricsPort | None:
    """Start the ingester's port."""
    stats = IngesterStats(state_dir / "ingester.json", lambda: time.time_ns() // 1_000_000)
    return start_part_metrics(address, [IngesterMetrics(stats)], SecurityConfig(), state_dir)


def scraped(port: MetricsPort, token: str = "") -> str:
    """Return what a scrape gets."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"http://{port.address}/metrics", headers=headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return str(answer.read().decode())


def test_a_part_answers_scrapes_on_loopback_without_tokens(tmp_path: Path) -> None:
    """Nothing has to be set up on one machine."""
    port = started(tmp_path)
    assert port is not None
    try:
        assert "headrace_ingester_writing 0.0" in scraped(port)
    finally:
        port.stop()


def test_a_token_made_while_a_part_runs_is_wanted_from_then_on(tmp_path: Path) -> None:
    """Tokens of role `metrics` guard every part, and no part is started again for it."""
    port = started(tmp_path)
    assert port is not None
    secret, token = new_token("prometheus", Role.METRICS, 1)
    write_tokens(tmp_path / "tokens.json", (token,))
    try:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            scraped(port)
        assert "headrace_ingester_records_total" in scraped(port, secret)
    finally:
        port.stop()


def test_an_open_address_needs_certificates_and_a_token(tmp_path: Path) -> None:
    """The rule is the server's own."""
    with pytest.raises(StartupError, match=r"metrics\.host.*TLS.*token"):
        started(tmp_path, "0.0.0.0:0")


def test_a_part_whose_port_is_taken_goes_on_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A standby on the same machine must be able to take over, and says why nobody is told of it."""
    first = started(tmp_path)
    assert first is not None
    try:
        assert started(tmp_path, first.address) is None
        assert "choose another port" in caplog.text
    finally:
        first.stop()


def test_addresses_are_told_by_name() -> None:
    """`headrace up` prints them, Prometheus' ports too."""
    assert ENDPOINTS.addresses()["metrics trainer"] == "127.0.0.1:9"


def test_endpoints_come_before_the_configured_port_and_zero_is_off() -> None:
    """`headrace up` chooses; elsewhere the configuration does."""
    config = MetricsConfig(trainer_port=1234, quality_port=5678)
    addresses = [config.address(part, ENDPOINTS) for part in ("trainer", "quality", "ingester")]
    assert addresses == ["127.0.0.1:9", "127.0.0.1:5678", ""]


def test_many_durations_count_as_one_by_one() -> None:
    """Folding a batch in is a shortcut, not another histogram."""
    one_by_one, at_once, values = Durations((0.1, 1.0)), Durations((0.1, 1.0)), [0.05, 0.1, 0.5, 3.0]
    for value in values:
        one_by_one.add(value)
    at_once.add_many(values)
    samples = [durations.metric("took_seconds", "Took.").samples for durations in (one_by_one, at_once)]
    assert samples[0] == samples[1]
