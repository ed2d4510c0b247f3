"""`EventIds` (streams/java) remembers exactly the ids of its window, as a dictionary of all ids would."""

from __future__ import annotations

import random
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from tests.contracts.java_program import java_command

KEEP_S, START_S = 100, 2**31 - 150
"""The clock passes the largest signed number of 32 bits on the way."""
HEAD_BYTES = 5


@dataclass(frozen=True)
class Answer:
    """What Java said of one id."""

    is_first: bool
    bucket_bytes: int
    bucket: int


Run = Callable[[Sequence[tuple[int, int, str]], int], list[Answer]]


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs (second, second of the record, id), in as many buckets as are named, through one state."""
    command = java_command(tmp_path_factory.mktemp("ids"), "Ids", str(KEEP_S))

    def run(records: Sequence[tuple[int, int, str]], buckets: int) -> list[Answer]:
        lines = "".join(f"{second}\t{record_s}\t{event_id}\n" for second, record_s, event_id in records)
        done = subprocess.run(
            [*command, str(buckets)], input=lines, stdout=subprocess.PIPE, encoding="utf-8", check=True
        )
        fields = [line.split("\t") for line in done.stdout.splitlines()]
        return [Answer(first == "true", int(size), int(bucket)) for first, size, bucket in fields]

    return run


def pairs_of(seed: int, count: int = 3000) -> list[tuple[int, str]]:
    """Ids of every length, many a prefix of others, seen again before and after their window."""
    rng = random.Random(seed)
    ids = ["é" * 64, "a" * 128, "a" * 127, "日", *(f"{prefix}{n}" for prefix in ("", "e-", "0000-") for n in range(60))]
    second = START_S
    pairs = []
    for _ in range(count):
        second += rng.choice([0, 0, 0, 0, 0, 0, 1, 2])
        pairs.append((second, rng.choice(ids)))
    return pairs


def in_time(pairs: Sequence[tuple[int, str]]) -> list[tuple[int, int, str]]:
    """Records that are read the moment they come."""
    return [(second, second, event_id) for second, event_id in pairs]


@pytest.mark.parametrize("buckets", [1, 7, 0])
def test_an_id_is_first_once_a_window(java: Run, buckets: int) -> None:
    """However many ids share a bucket, and whatever they have in common."""
    pairs = pairs_of(buckets)
    answers = java(in_time(pairs), buckets)
    came: dict[str, int] = {}
    for (second, event_id), answer in zip(pairs, answers, strict=True):
        known = event_id in came and came[event_id] + KEEP_S >= second
        assert answer.is_first is not known
        if answer.is_first:
            came[event_id] = second


def test_what_expired_takes_no_room(java: Run) -> None:
    """A bucket is cleared by the next id that it takes."""
    pairs = [(START_S + number, f"id-{number:04}") for number in range(1000)]
    sizes = [answer.bucket_bytes for answer in java(in_time(pairs), 1)]
    assert max(sizes) == sizes[-1] == (KEEP_S + 1) * (HEAD_BYTES + len("id-0000"))


def test_ids_that_count_up_spread_over_the_buckets(java: Run) -> None:
    """As do random ones: of 20,000 in 131,072 buckets about 7 % share theirs, and never ten."""
    rng = random.Random(5)
    for ids in (
        [f"0001-{number:020}" for number in range(20_000)],
        [f"{rng.getrandbits(128):032x}" for _ in range(20_000)],
    ):
        counts = Counter(answer.bucket for answer in java(in_time([(START_S, one) for one in ids]), 0))
        assert len(counts) > 18_000
        assert max(counts.values()) < 10


@pytest.mark.parametrize("slower", [0, 1, 3], ids=["at once", "as fast as time goes", "slower than it comes"])
def test_a_backlog_ages_no_id(java: Run, slower: int) -> None:
    """An outage of ten windows between an id and its duplicate, which came seconds behind it: it is known."""
    records = [(START_S + second, START_S + second, f"before-{second}") for second in range(50)]
    back_s, came_s = START_S + 10 * KEEP_S, START_S + 50
    records += [(back_s + slower * n, came_s + n, f"before-{n}") for n in range(49)]
    assert not any(answer.is_first for answer in java(records, 1)[50:])


def test_a_replay_forgets_nothing_that_it_read_just_now(java: Run) -> None:
    """Days of records in a second: an id is known although the duplicate was written two windows later."""
    records = [(START_S, START_S - 9 * KEEP_S, "a"), (START_S, START_S - 7 * KEEP_S, "a")]
    assert [answer.is_first for answer in java(records, 1)] == [True, False]


def test_an_id_is_forgotten_once_the_backlog_is_read(java: Run) -> None:
    """Both clocks are past its window."""
    times = [(START_S, START_S), (START_S + 5 * KEEP_S, START_S + KEEP_S), (START_S + 5 * KEEP_S, START_S + 2 * KEEP_S)]
    assert [answer.is_first for answer in java([(*both, "a") for both in times], 1)] == [True, False, True]
