"""What is in a file reaches the stream once; what is wrong with a file is said in one sentence."""

from __future__ import annotations

import gzip
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from compose.imports.errors import BadRowError, EventsFileError, UndeclaredActionsError
from compose.imports.events_file import EventsFile
from tests.compose.events_files import (
    ROWS,
    mapping_options,
    native_options,
    read,
    write_csv,
    write_jsonl,
    write_parquet,
)

WRITERS = [
    (write_jsonl, "e.jsonl"),
    (write_jsonl, "e.json"),
    (write_jsonl, "e.ndjson.gz"),
    (write_csv, "e.csv"),
    (write_parquet, "e.parquet"),
]


@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_every_format_gives_the_same_events(write: Any, name: str, tmp_path: Path) -> None:
    """In the order of the file, with the same ids."""
    events, _ = read(write(tmp_path / name, ROWS), native_options())
    expected, _ = read(write_jsonl(tmp_path / "expected.jsonl", ROWS), native_options())
    assert [(e.user_id, e.item_id, e.event_time_ms, e.value) for e in events] == [
        ("u2", "7", 2000, 4.5),
        ("u1", "8", 1000, None),
    ]
    assert events == expected


def test_whole_numbers_are_good_ids_and_timestamps_good_times(tmp_path: Path) -> None:
    """As data frames write them, also where a column of ids has gaps."""
    times = pa.array([1000], pa.timestamp("ms"))
    columns = {"user_id": [1], "item_id": [2], "action": ["click"], "event_time_ms": times, "session_id": [3.0]}
    pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    [event], _ = read(tmp_path / "e.parquet", native_options())
    assert (event.user_id, event.item_id, event.event_time_ms, event.session_id) == ("1", "2", 1000, "3")


def test_rows_that_say_the_same_are_events_of_their_own(tmp_path: Path) -> None:
    """Also where they do not stand side by side; a given id stays."""
    rows = [ROWS[0], ROWS[1], ROWS[0], {**ROWS[1], "event_id": "given"}]
    ids = [event.event_id for event in read(write_jsonl(tmp_path / "e.jsonl", rows), native_options())[0]]
    assert (len(set(ids)), ids[3]) == (4, "given")


def test_ids_do_not_depend_on_order_format_or_file(tmp_path: Path) -> None:
    """An overlapping export, sorted otherwise, counts what it shares once."""
    rows = [{**ROWS[0], "event_time_ms": 1000 * (1 + n // 3)} for n in range(30)]  # Each three times.
    first, _ = read(write_jsonl(tmp_path / "a.jsonl", rows), native_options())
    random.Random(7).shuffle(rows)
    second, _ = read(write_parquet(tmp_path / "b.parquet", [*rows, {**ROWS[0], "event_time_ms": 9}]), native_options())
    assert len({event.event_id for event in first}) == 30
    assert len({event.event_id for event in second} - {event.event_id for event in first}) == 1


def test_another_salt_makes_other_ids(tmp_path: Path) -> None:
    """For a file that is to count again."""
    path = write_jsonl(tmp_path / "e.jsonl", ROWS)
    events, _ = read(path, native_options())
    salted, _ = read(path, native_options(salt="again"))
    assert not {event.event_id for event in events} & {event.event_id for event in salted}


BAD_CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"user_id": ""}, "row 2: user_id is missing"),
    ({"item_id": "x" * 129}, "row 2: item_id must have 1-128 bytes"),
    ({"item_id": "x\x85"}, "row 2: item_id must not contain control characters"),
    ({"action": True}, "row 2: action must be text"),
    ({"event_time_ms": "yesterday"}, "row 2: event_time_ms must be milliseconds"),
    ({"event_time_ms": 1.7e15}, "row 2: event_time_ms must be whole milliseconds"),
    ({"event_time_ms": "nan"}, "row 2: event_time_ms must be milliseconds"),
    ({"event_time_ms": True}, "row 2: event_time_ms must be milliseconds"),
    ({"event_time_ms": 0}, "row 2: event_time_ms must be whole milliseconds since 1970, not 0"),
    ({"user_id": 2.0**54}, "row 2: user_id 1.8014398509481984e\\+16 has lost its last digits"),
    ({"value": True}, "row 2: value must be a number, not True"),
    ({"value": 10**400}, "row 2: value must be a number, not 1000"),
    ({"request_token": 5}, "row 2: request_token must be text, not 5"),
    ({"context": '{"a": "\\ud800"}'}, "row 2: a text in the record is not valid"),
    ({"context": {"page": "x" * 61_290}}, "row 2: the event has 61.* bytes, more than 61376; map less context"),
    ({"context": {"page": "x" * 70_000}}, "row 2: a record must stay below 61440 bytes"),
    ({"value": "much"}, "row 2: value must be a number"),
    ({"value": "inf"}, "row 2: value must be finite"),
    ({"context": "{"}, "row 2: context must be a JSON object"),
    ({"context": 5}, "row 2: context must map names"),
]


@pytest.mark.parametrize(("change", "said"), BAD_CHANGES)
def test_a_bad_row_is_named(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    """Before anything is sent, with the option that leaves it out."""
    path = write_jsonl(tmp_path / "e.jsonl", [ROWS[0], {**ROWS[1], **change}])
    with pytest.raises(BadRowError, match=said + ".*--skip-bad"):
        EventsFile(path, native_options()).survey()


def test_bad_rows_are_left_out_and_counted_on_demand(tmp_path: Path) -> None:
    """Rows that are no JSON among them; the first problem is kept."""
    path = write_jsonl(tmp_path / "e.jsonl", [ROWS[0], {**ROWS[1], "value": "much"}, [], ROWS[1]])
    path.write_bytes(path.read_bytes() + b"{broken\n")
    events, survey = read(path, native_options(skip_bad=True))
    assert [event.item_id for event in events] == ["7", "8"]
    assert dict(survey.left_out) == {"rows that cannot be used": 3}
    assert "row 2: value must be a number" in survey.first_problem


def test_missing_columns_are_named(tmp_path: Path) -> None:
    """With those that are there."""
    path = write_csv(tmp_path / "e.csv", [{"user_id": "u1", "item_id": "i1"}])
    with pytest.raises(EventsFileError, match=r"lacks the column action, event_time_ms; it has user_id, item_id"):
        EventsFile(path, native_options()).survey()


HEADER = "user_id,item_id,action,event_time_ms\n"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("e.txt", b"", "no known ending"),
        ("e.gz", b"", "no known ending"),
        ("e.jsonl", b"", "holds no events"),
        ("e.jsonl", b"{\n", "row 1 is not JSON.*a line holds one whole object"),
        ("e.jsonl", b"[]\n", "must be a JSON object, not list; a line holds one object"),
        ("e.jsonl", "{}".encode("utf-16"), "it is UTF-16; save the file as UTF-8"),
        ("e.jsonl.gz", b"not gzip", "cannot read"),
        ("e.jsonl.gz", gzip.compress(b"{}")[:-9], "cannot read"),
        ("e.jsonl.gz", gzip.compress(b"{}")[:10] + b"\xff" * 20, "cannot read"),
        ("e.parquet", b"PAR1 and no more", "cannot read"),
        ("e.csv", b"\xff\xfe", "cannot read"),
        ("e.csv", f"{HEADER}u,caf\xe9,click,5\n".encode("latin-1"), "line 2 is not UTF-8; save the file as UTF-8"),
        ("e.csv", f"{HEADER}u,a tea, green,click,5\n".encode(), "row 1 has 5 cells, but the header 4; quote"),
        ("e.csv", f"user_id,{HEADER}u,v,i,click,5\n".encode(), "has the column user_id twice"),
        ("e.csv", f'{HEADER}u,"{"x" * 200_000}'.encode(), "line 2: field larger .* is a quote not closed"),
    ],
)
def test_an_unreadable_file_is_one_sentence(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    """Also a damaged one."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EventsFileError, match=said):
        EventsFile(tmp_path / name, native_options()).survey()


@pytest.mark.parametrize("times", [pa.array([2**62], pa.timestamp("us")), pa.array([5], pa.timestamp("us", "Mars/X"))])
def test_a_time_that_python_does_not_know_is_one_sentence(times: Any, tmp_path: Path) -> None:
    """Parquet holds times of the year 148,108, and zones of other planets."""
    columns = {"user_id": ["u"], "item_id": ["i"], "action": ["click"], "event_time_ms": times}
    pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    with pytest.raises(EventsFileError, match="holds a value that cannot be read"):
        EventsFile(tmp_path / "e.parquet", native_options()).survey()


@pytest.mark.parametrize("skipped", [[], ["action"]])
def test_a_table_without_actions_has_the_default_one(skipped: list[str], tmp_path: Path) -> None:
    """No column of them is asked for."""
    path = write_csv(tmp_path / "e.csv", [{"user_id": "u1", "item_id": "i1", "event_time_ms": 5}])
    options = mapping_options(action=[], default_action="click", skip_missing=skipped)
    assert [event.action for event in read(path, options)[0]] == ["click"]


def test_a_day_is_its_midnight_in_the_zone_of_the_mapping(tmp_path: Path) -> None:
    """Tables by day have no hour."""
    columns = {"user_id": ["u"], "item_id": ["i"], "action": ["click"], "day": pa.array([19_753], pa.date32())}
    pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    [event], _ = read(tmp_path / "e.parquet", mapping_options(event_time={"path": "day", "zone": "Europe/Berlin"}))
    assert event.event_time_ms == (19_753 * 24 - 1) * 3_600_000


def test_the_token_of_an_answer_is_longer_than_an_id(tmp_path: Path) -> None:
    """One of a list of 500 has some 5,400 characters."""
    path = write_jsonl(tmp_path / "e.jsonl", [{**ROWS[0], "request_id": "q", "request_token": "1." + "x" * 5400}])
    assert len(read(path, native_options())[0][0].request_token) == 5402


def test_undeclared_actions_are_one_error_with_their_counts(tmp_path: Path) -> None:
    """And with what can be done about them."""
    rows = [{**ROWS[0], "action": "hover"}] * 3 + [{**ROWS[0], "action": "wink"}, ROWS[1]]
    path = write_jsonl(tmp_path / "e.jsonl", rows)
    with pytest.raises(UndeclaredActionsError, match=r"2 actions .* hover \(3\), wink \(1\); .*--skip-unknown"):
        EventsFile(path, native_options()).survey()
    events, survey = read(path, native_options(skip_unknown=True))
    assert ([event.action for event in events], survey.events) == (["click"], 1)
    assert dict(survey.left_out) == {"undeclared action hover": 3, "undeclared action wink": 1}


def test_the_survey_tells_counts_times_and_the_first_events(tmp_path: Path) -> None:
    """As `--dry-run` prints them, with the ids they will have."""
    events, survey = read(write_jsonl(tmp_path / "e.jsonl", [*ROWS, *ROWS, *ROWS]), native_options())
    assert dict(survey.actions) == {"rating": 3, "click": 3}
    assert (survey.rows, survey.oldest_ms, survey.newest_ms) == (6, 1000, 2000)
    assert survey.first_events == events[:3]


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path) -> None:
    """Its survey no longer holds."""
    path = write_jsonl(tmp_path / "e.jsonl", ROWS)
    file = EventsFile(path, native_options())
    file.survey()
    write_jsonl(path, [*ROWS, *ROWS])
    with pytest.raises(EventsFileError, match="changed while it was read"):
        list(file.rows())


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    """Spreadsheets write one in front of the first column."""
    path = write_csv(tmp_path / "e.csv", ROWS)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read(path, native_options())[0]) == 2
    path = write_jsonl(tmp_path / "e.jsonl", ROWS)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read(path, native_options())[0]) == 2


def test_empty_lines_are_no_rows(tmp_path: Path) -> None:
    """At the end, where editors leave one, and elsewhere."""
    path = write_jsonl(tmp_path / "e.jsonl", ROWS)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\n \r\n\n"))
    events, survey = read(path, native_options())
    assert (len(events), survey.rows, survey.left_out) == (2, 2, {})


def test_only_columns_of_the_mapping_are_read(tmp_path: Path) -> None:
    """A wide parquet file costs what its wanted columns cost."""
    path = write_parquet(tmp_path / "e.parquet", [{**row, "who": row["user_id"], "blob": "x" * 1000} for row in ROWS])
    events, _ = read(path, mapping_options(user_id="who"))
    assert [event.user_id for event in events] == ["u2", "u1"]
