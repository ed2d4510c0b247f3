"""The functions of `streams/java` and their twins in `features` make the same of the same events, in any order."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from features.config import FeaturesConfig
from features.counter_rows import decay_rows
from features.declared_features import DeclaredFeature
from features.declared_table import CountedEvent, DeclaredTable
from features.distinct_counts import SIZE, add_text, estimate
from features.feast_values import LIST_TAGS, encode_value
from features.feature_topics import FieldKind
from features.packed_rows import unpack_list
from features.user_state import UserState, UserTable
from protos.features_pb2 import FeatureRow
from tests.contracts.java_program import java_command

HALF_LIVES_S = (61.001, 3600.0)
WINDOW_S, START_MS = 90.5, 1_789_999_999_999
FEATURES = FeaturesConfig(half_lives_s=HALF_LIVES_S, history_length=7, exposure_length=9, categories_per_user=3)
IDS = ("a", "z", "é", "\uffff", "😀", "日本", "zz")
"""Where UTF-16 would sort otherwise than UTF-8."""


@dataclass(frozen=True)
class Change:
    """An event, or one taken back."""

    event: CountedEvent
    outcome: int
    categories: tuple[str, ...]
    sign: int = 1

    def line(self) -> str:
        """Return it as Twins.java reads it."""
        event, categories = self.event, ",".join(self.categories)
        first = ("event", event.event_time_ms, event.event_id, event.item_id)
        return "\t".join(map(str, (*first, self.outcome, event.value, self.sign, categories)))


@dataclass(frozen=True)
class Shown:
    """A served list."""

    time_ms: int
    request_id: str
    item_ids: tuple[str, ...]

    def line(self) -> str:
        """Return it as Twins.java reads it."""
        return f"list\t{self.time_ms}\t{self.request_id}\t{','.join(self.item_ids)}"


Line = Change | Shown
Run = Callable[[Sequence[Line]], dict[str, list[str]]]


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs lines through the Java functions; returns the fields that each printed."""
    spans = ",".join(str(seconds * 1000.0) for seconds in HALF_LIVES_S)
    limits = (FEATURES.history_length, FEATURES.exposure_length, FEATURES.categories_per_user)
    arguments = (spans, HALF_LIVES_S[-1] * 1000.0, round(WINDOW_S * 1000), *limits)
    command = java_command(tmp_path_factory.mktemp("twins"), "Twins", *map(str, arguments))
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, encoding="utf-8", bufsize=1) as process:
        yield lambda lines: _run(process, lines)


def _run(process: subprocess.Popen[str], lines: Sequence[Line]) -> dict[str, list[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("".join(f"{line.line()}\n" for line in lines) + "\n")
    printed: dict[str, list[str]] = {}
    while fields := process.stdout.readline().removesuffix("\n"):
        name, *rest = fields.split("\t")
        printed[name] = rest
    return printed


def numbers(field: str) -> list[float]:
    """Return the numbers of a field."""
    return [float(number) for number in field.split(",")]


def columns(fields: Sequence[str]) -> list[list[Any]]:
    """Return the columns that Java packed, each read by itself and equal to Feast's bytes of what it says."""
    values = FeatureRow.FromString(bytes.fromhex(fields[0])).values
    found = [list(unpack_list(value)) for value in values]
    kinds: dict[bytes, FieldKind] = {tag: kind for kind, tag in LIST_TAGS.items()}
    assert [encode_value(kinds[value[:1]], column) for value, column in zip(values, found, strict=True)] == list(values)
    return found


def changes(seed: int, count: int = 200) -> Iterator[Change]:
    """Events over three epochs of the short half-life, many at equal times."""
    rng = random.Random(seed)
    for number in range(count):
        time_ms = START_MS + rng.randrange(8) * 1_000_000 + rng.randrange(3)
        item = rng.randrange(40)
        event = CountedEvent(f"{rng.choice(IDS)}{number}", "u", f"i{item}", "click", rng.random(), time_ms)
        yield Change(event, rng.randrange(-1, 2), (f"c{item % 2}", f"é{item % 2}")[: 1 + item % 3])


def lists(seed: int, count: int = 40) -> Iterator[Shown]:
    """Lists of up to five items, many at equal times."""
    rng = random.Random(seed)
    for number in range(count):
        items = tuple(f"{rng.choice(IDS)}{place}" for place in range(rng.randrange(1, 6)))
        yield Shown(START_MS + rng.randrange(15), f"{rng.choice(IDS)}{number}", items)


def shuffled(lines: Sequence[Line], seed: int) -> list[Line]:
    """Return the lines in another order."""
    return random.Random(seed).sample(lines, len(lines))


def user_of(lines: Sequence[Line], now_ms: int) -> UserState:
    """Return what the twin makes of the lines."""
    users = UserTable(FEATURES)
    for line in lines:
        if isinstance(line, Shown):
            users.add_shown("u", line.request_id, line.time_ms, line.item_ids)
        else:
            users.add_event(line.event, line.categories, line.outcome)
    return users.state("u", now_ms)


def declared_row(feature: DeclaredFeature, lines: Sequence[Line]) -> NDArray[np.float64]:
    """Return the raw numbers of one declared feature."""
    table = DeclaredTable({"user_feature": feature})
    for line in lines:
        if isinstance(line, Change):
            table.add_event(0, line.event)
    return table.row(0)


@pytest.mark.parametrize("seed", range(3))
def test_histories_and_exposure_are_equal(java: Run, seed: int) -> None:
    """The same newest ones in the same order, ties by the bytes of the ids."""
    lines: list[Line] = [*changes(seed), *lists(seed)]
    printed, user = java(shuffled(lines, seed)), user_of(lines, START_MS)
    item_ids, actions, times_ms, outcomes = columns(printed["history"])
    assert item_ids == list(user.history_item_ids)
    assert times_ms == user.history_times_ms.tolist()
    newest = sorted(changes(seed), key=lambda one: (one.event.event_time_ms, one.event.event_id.encode()))[:-8:-1]
    assert (actions, outcomes) == (["click"] * 7, [one.outcome for one in newest])
    assert printed["shown"][0].split(",") == list(user.shown_item_ids)
    assert numbers(printed["shown"][1]) == user.shown_times_ms.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_sums_and_values_are_equal(java: Run, seed: int) -> None:
    """Decayed and windowed sums, the newest value and the distinct count, to the last register."""
    lines = list(changes(seed))
    printed, other_order = java(lines), shuffled(lines, seed)
    expected = {
        "decayed": DeclaredFeature(entity="user", aggregation="count", half_lives_s=HALF_LIVES_S),
        "windowed": DeclaredFeature(entity="user", aggregation="sum", window_s=WINDOW_S),
        "value": DeclaredFeature(entity="user", aggregation="last"),
        "distinct": DeclaredFeature(entity="user", aggregation="distinct", of="item_id"),
    }
    found = {name: numbers(printed[name][0]) for name in expected}
    # Flink counts events, positives and negatives; of each span the feature has epoch, events and events before.
    found["decayed"] = [found["decayed"][at] for start in (0, 7) for at in (start, start + 1, start + 4)]
    for name, feature in expected.items():
        np.testing.assert_allclose(found[name], declared_row(feature, other_order), rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_counters_and_categories_are_equal(java: Run, seed: int) -> None:
    """Counters, and the strongest categories, decayed to now."""
    lines, now_ms = list(changes(seed)), START_MS + 8_000_000
    printed, user = java(lines), user_of(shuffled(lines, seed), now_ms)
    counters = np.array(numbers(printed["decayed"][0])).reshape(1, 2, 7)
    np.testing.assert_allclose(decay_rows(counters, HALF_LIVES_S, now_ms)[0], user.counts, rtol=1e-9, atol=1e-9)
    names, flat = columns(printed["categories"])
    counts = decay_rows(np.array(flat).reshape(-1, 1, 7), HALF_LIVES_S[-1:], now_ms)[:, 0]
    assert names == list(user.category_names)
    np.testing.assert_allclose(counts, user.category_counts, rtol=1e-9)


def test_an_event_whose_categories_change_moves_and_counts_once(java: Run) -> None:
    """Taken back and anew, at any later time: as if the item had had its new categories before."""
    old = [Change(one.event, one.outcome, ("old",)) for one in changes(5, 30)]
    back = [Change(one.event, one.outcome, ("old",), -1) for one in old]
    anew = [Change(one.event, one.outcome, ("new", "newer")) for one in old]
    moved, once = java([*old, *back, *anew]), java([*anew])
    assert moved["history"] == once["history"]
    assert moved["distinct"] == once["distinct"]
    assert moved["value"] == once["value"]
    assert columns(moved["categories"])[0] == ["new", "newer"]
    for name in ("decayed", "windowed"):
        np.testing.assert_allclose(numbers(moved[name][-1]), numbers(once[name][-1]), rtol=1e-9, atol=1e-6)
    moved_sums, once_sums = (np.array(columns(one["categories"])[1]) for one in (moved, once))
    np.testing.assert_allclose(moved_sums, once_sums, rtol=1e-9, atol=1e-6)


def test_what_fell_out_of_its_category_is_not_taken_back(java: Run) -> None:
    """An event older than the category's two epochs left no trace: taking it back must leave none either."""
    early, late = (
        CountedEvent(name, "u", "i", "click", 1.0, START_MS * (name == "late") + 1) for name in ("a", "late")
    )
    both = [Change(event, 1, ("old",), sign) for sign in (1, -1) for event in (early, late)]
    assert columns(java([*both[:2], both[3], both[2]])["categories"]) == [[], []]


def test_distinct_registers_are_those_of_java(java: Run) -> None:
    """Beyond linear counting too."""
    events = [CountedEvent("e", "u", f"{IDS[n % 7]}{n}", "click", 1.0, START_MS) for n in range(5000)]
    registers = bytearray(SIZE)
    for event in events:
        add_text(registers, event.item_id)
    printed = java([Change(event, 0, ()) for event in events])
    assert numbers(printed["distinct"][0]) == [pytest.approx(estimate(registers), rel=1e-12)]
