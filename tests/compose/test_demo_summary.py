"""Laws of what a run leaves behind."""

from __future__ import annotations

import base64
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from compose.demo.app import run_demo
from compose.demo.errors import DemoError
from compose.demo.ledger import Ledger
from compose.demo.options import DemoOptions
from compose.demo.stage_lags import StageLags
from compose.demo.summary import Outcome, summary_table, write_json
from compose.demo.topic_reader import AnnouncementSeen, DeadLetterSeen, SampleSeen, decode_record
from compose.demo.view import Snapshot, panel, plain_line
from tests.trainer.test_version_delta import image_of, make_delta
from trainer.delta_chunks import chunk_records
from trainer.version_delta import encode_delta

TIMES = {"p50": 40.0, "p99": 90.0}
NO_TIMES: dict[str, float | None] = {"p50": None, "p99": None}
NOW = Snapshot(12.0, 900, 15_000, 101.0, 0.151, 0.092, 500, 0.4, "1.12", 11, TIMES, NO_TIMES, TIMES, 0, 3, 90, 20, 4.2)


def summary(**changes: Any) -> dict[str, Any]:
    """Return a summary of a clean run."""
    zeros = ("failed_requests", "retried_requests", "events_lost", "events_doubled", "events_unsent", "skipped_cold")
    rates = ("hr@10", "hr@10_late", "popularity_hr@10", "popularity_hr@10_late", "coverage")
    return {
        **dict.fromkeys(zeros, 0),
        **dict.fromkeys(rates, 0.1),
        **dict.fromkeys(("event_to_feature_ms", "event_to_served_ms", "recommend_ms"), TIMES),
        **{"data": "ML-100k", "events": 15_000, "scored": 8000, "model_versions": 100, "swaps": 99},
        **{"visitor": {"lists": 5, "clicks_per_list": 0.2}, "degraded": {}, "restarts": {"server": 1}},
        **{"largest_lag_s": 0.5, "replay_s": 150.0, "wall_s": 230.0},
        **changes,
    }


def rendered(content: object) -> str:
    """Return what a wide terminal would show."""
    console = Console(width=140, file=StringIO())
    with console.capture() as capture:
        console.print(content)
    return capture.get()


def test_a_clean_run_ends_with_zero() -> None:
    """Any failed request, lost or doubled event makes it one."""
    assert Outcome(0, 0, 0, 0).exit_code == 0
    assert [Outcome(*(int(i == bad) for i in range(4))).exit_code for bad in range(4)] == [1, 1, 1, 1]


def test_summary_table_shows_the_figures() -> None:
    """Restarts are shown where there were any."""
    text = rendered(summary_table(summary()))
    assert "15,000 events" in text
    assert "40 ms, 90 ms" in text
    assert "server 1" in text
    assert "not measured" in rendered(summary_table(summary(event_to_served_ms=NO_TIMES)))


def test_json_is_written_whole(tmp_path: Path) -> None:
    """It comes back as it was; a folder that is not there is one sentence."""
    write_json(tmp_path / "out.json", summary())
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == summary()
    with pytest.raises(DemoError, match="cannot write the summary"):
        write_json(tmp_path / "none" / "out.json", summary())


def test_line_and_panel_say_the_same() -> None:
    """Both show hit rates, versions, times and what goes wrong."""
    for text in (plain_line(NOW), rendered(panel(NOW))):
        for part in ("900", "15,000", "0.15", "0.09", "1.12", "4.2 s late", "3 tried again"):
            assert part in text


def test_records_of_the_topics_are_read_and_rubbish_is_not() -> None:
    """Samples, dead letters by the id inside their raw bytes, announcements."""
    event = base64.b64encode(b'{"event_id": "e1"}').decode()
    assert decode_record("headrace.samples.v1", 3, 7, b'{"kind": "organic", "event_id": "e1", "items": []}') == (
        SampleSeen("e1", "organic", "headrace.samples.v1:3", 7)
    )
    letter = json.dumps({"raw": event, "reason": "too_old"}).encode()
    assert decode_record("headrace.events.dlq.v1", 0, 1, letter) == DeadLetterSeen("e1", "too_old")
    announcement = decode_record("headrace.models.v1", 0, 1, b'{"version": "1.2", "sample_offsets": {"t:0": 5}}')
    assert announcement == AnnouncementSeen("1.2", {"t:0": 5})
    payload = encode_delta(make_delta(image_of()))
    assert decode_record("headrace.deltas.v1", 0, 1, chunk_records("m", "1.1", "p", payload)[0]) == (
        AnnouncementSeen("1.1", {})
    )
    assert decode_record("headrace.deltas.v1", 0, 1, b"rubbish") is None
    for rubbish in (b"{", b'{"version": 3}', None):
        assert decode_record("headrace.models.v1", 0, 1, rubbish) is None


def test_stage_lags_count_what_waits(tmp_path: Path) -> None:
    """Events without outcome, rows before the ingester, samples before the trainer, versions before the server."""
    ledger = Ledger()
    lags = StageLags(tmp_path, ledger)
    assert lags.read() == {"jobs": 0}
    ledger.acknowledge("a")
    (tmp_path / "ingester.json").write_text('{"state": "on", "lag": {"t:0": 2, "t:1": 3}}', encoding="utf-8")
    lags.on_sample("s:0", 9)
    lags.on_announcement("1.1", {"s:0": 6})
    lags.on_announcement("1.2", {"s:0": 8})
    lags.on_reply("1.1")
    assert lags.read() == {"jobs": 1, "ingester": 5, "trainer": 2, "server versions": 1}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"events": 0}, "--events 0 must be 1 or more"),
        ({"speed": 0.0}, "--speed 0 must be above 0"),
        ({"compare": True, "freeze_model": True}, "leave --freeze-model out"),
        ({"json_path": Path("no-such-folder/out.json")}, "the folder does not exist"),
        ({"data": Path("no-such-file.csv")}, "cannot read no-such-file.csv"),
        ({"config_path": Path("no-such.yaml")}, "cannot read no-such.yaml"),
    ],
)
def test_bad_usage_is_one_sentence_and_exit_code_2(
    changes: dict[str, Any], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is started before the options are known to fit."""
    options = DemoOptions(**{"config_path": Path("headrace.yaml"), "state_dir": tmp_path / "state", **changes})
    assert run_demo(options) == 2
    assert sentence in capsys.readouterr().out.replace("\n", " ")
    assert not (tmp_path / "state").exists()
