"""What a server signs, `TokenHolds` (streams/java) takes; and nothing else."""

from __future__ import annotations

import base64
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from features.request_keys import RequestKeys, add_request_key, make_request_keys, read_request_keys
from serving.security.request_tokens import RequestTokens
from tests.contracts.java_program import java_command
from tests.running_stack import wait_for

NOW_MS, LIVES_MS = 1_790_000_000_000, 3_600_000
MINUTE_MS = 60_000
ITEMS = ("a", "é", "日本 item", "x" * 128)
ARM = "challenger.2"


@dataclass(frozen=True)
class Feedback:
    """What an event brings."""

    token: str
    request_id: str = "r-1"
    user_id: str = "ada"
    item_id: str = "a"
    record_ms: int = NOW_MS + MINUTE_MS

    def line(self) -> str:
        """Return it as Tokens.java reads it."""
        return "\t".join((self.token, self.request_id, self.user_id, self.item_id, str(self.record_ms)))


@dataclass(frozen=True)
class Judge:
    """A running Java program and the file of keys that it follows."""

    keys: Path
    process: subprocess.Popen[str]

    def holds(self, feedback: Feedback) -> bool:
        """Ask it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(feedback.line() + "\n")
        self.process.stdin.flush()
        return {"true\n": True, "false\n": False}[self.process.stdout.readline()]

    def feedback(self, request_id: str = "r-1", served_ms: int = NOW_MS) -> Feedback:
        """Return good feedback on the first item of a list."""
        token = RequestTokens(self.keys).sign(request_id, "ada", ITEMS, served_ms, ARM)
        return Feedback(token, request_id, record_ms=served_ms + MINUTE_MS)


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The compiled program."""
    return java_command(tmp_path_factory.mktemp("tokens"), "Tokens")


@pytest.fixture
def judge(command: list[str], tmp_path: Path) -> Iterator[Judge]:
    """A program with keys of its own, made a day before the lists are served."""
    keys, pipe = tmp_path / "request-keys.json", subprocess.PIPE
    make_request_keys(keys, NOW_MS - 24 * LIVES_MS)
    with subprocess.Popen([*command, str(keys), str(LIVES_MS)], stdin=pipe, stdout=pipe, encoding="utf-8") as process:
        yield Judge(keys, process)


def test_every_shown_item_counts(judge: Judge) -> None:
    """Whatever its id; a list of 500 too."""
    good = judge.feedback()
    assert [judge.holds(replace(good, item_id=item_id)) for item_id in ITEMS] == [True] * len(ITEMS)
    many = [f"item-{number}" for number in range(500)]
    token = RequestTokens(judge.keys).sign("r-1", "ada", many, NOW_MS)
    assert len(token) < 8192
    assert [judge.holds(Feedback(token, item_id=item_id)) for item_id in (many[0], many[-1], "item-500")] == [
        True,
        True,
        False,
    ]


Change = Callable[[Feedback], Feedback]
CHANGES: dict[str, Change] = {
    "replayed for another user": lambda good: replace(good, user_id="eve"),
    "for an item that was not shown": lambda good: replace(good, item_id="b"),
    "for another request": lambda good: replace(good, request_id="r-2"),
    "no token": lambda good: replace(good, token=""),
    "expired": lambda good: replace(good, record_ms=NOW_MS + LIVES_MS + 1),
    "key that nobody has": lambda good: replace(good, token=_with_part(good.token, 1, "00000000")),
    "served later": lambda good: replace(good, token=_with_part(good.token, 2, str(NOW_MS + 1))),
    "another arm": lambda good: replace(good, token=_with_part(good.token, 3, _base64(b"control"))),
    "other items": lambda good: replace(
        good, token=_with_part(good.token, 4, good.token.split(".")[4] + "AAAAAAAAAAA")
    ),
    "no signature": lambda good: replace(good, token=_with_part(good.token, 5, "")),
    "signed by another": lambda good: replace(good, token=_with_part(good.token, 5, _base64(bytes(32)))),
    "another version": lambda good: replace(good, token="2" + good.token[1:]),
    "one part more": lambda good: replace(good, token=good.token + "."),
    "not base64": lambda good: replace(good, token=_with_part(good.token, 5, "+/=*")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_was_not_signed_does_not_count(judge: Judge, change: Change) -> None:
    """While the unchanged one does, before and after."""
    good = judge.feedback()
    assert [judge.holds(one) for one in (good, change(good), good)] == [True, False, True]


def test_no_flipped_character_counts(judge: Judge) -> None:
    """Nor a cut token; what is left of the last character of base64 says nothing, and is no change."""
    good, rng = judge.feedback(), random.Random(3)
    assert not any(judge.holds(replace(good, token=good.token[:size])) for size in range(len(good.token)))
    for place in range(len(good.token) - 1):
        letter = rng.choice("ABCXYZabcxyz0189-_. \0")
        if letter != good.token[place]:
            changed = good.token[:place] + letter + good.token[place + 1 :]
            assert not judge.holds(replace(good, token=changed)), (place, letter)


def test_item_bytes_of_one_list_say_nothing_in_another(judge: Judge) -> None:
    """They are salted: equal items of two requests have other bytes."""
    first, second = (judge.feedback(request_id).token.split(".")[4] for request_id in ("r-1", "r-2"))
    assert first != second


def test_a_rotated_key_goes_on_checking_what_it_signed(judge: Judge) -> None:
    """And the running job knows the new one by its first token."""
    before = judge.feedback()
    assert judge.holds(before)
    add_request_key(judge.keys, NOW_MS + MINUTE_MS)
    after = judge.feedback("r-2", NOW_MS + 2 * MINUTE_MS)
    assert [judge.holds(after), judge.holds(before)] == [True, True]
    assert before.token.split(".")[1] != after.token.split(".")[1]


def test_a_leaked_key_signs_nothing_after_its_rotation(judge: Judge, tmp_path: Path) -> None:
    """A thief can date a token back, but then it expires with all of that day."""
    stolen = tmp_path / "stolen.json"
    stolen.write_bytes(judge.keys.read_bytes())
    stolen.chmod(0o600)
    add_request_key(judge.keys, NOW_MS)
    forged = RequestTokens(stolen).sign("r-1", "ada", ITEMS, NOW_MS + 2 * MINUTE_MS)
    dated_back = RequestTokens(stolen).sign("r-1", "ada", ITEMS, NOW_MS)
    later = Feedback("", record_ms=NOW_MS + LIVES_MS + 2 * MINUTE_MS)
    assert [judge.holds(replace(later, token=token)) for token in (forged, dated_back)] == [False, False]
    assert not judge.holds(Feedback(forged, record_ms=NOW_MS + 3 * MINUTE_MS))


def test_events_from_before_the_first_key_need_no_token(judge: Judge) -> None:
    """Switching tokens on does not take the past away when the streams are replayed."""
    since_ms = read_request_keys(judge.keys).since_ms
    assert [judge.holds(Feedback("", record_ms=at)) for at in (since_ms - 1, since_ms)] == [True, False]


def test_a_damaged_file_leaves_the_keys_as_they_were(judge: Judge) -> None:
    """And its mend is found again."""
    good, content = judge.feedback(), judge.keys.read_bytes()
    assert judge.holds(good)
    judge.keys.write_text("{")
    time.sleep(1.2)  # Longer than the job waits between two looks at it.
    assert judge.holds(good)
    judge.keys.write_bytes(content)
    add_request_key(judge.keys, NOW_MS)
    wait_for(lambda: judge.holds(judge.feedback()), "the mended file", pause_s=0.2)


def test_a_missing_file_is_told(command: list[str], tmp_path: Path) -> None:
    """The function fails and names the file: without keys nothing can be said of any token."""
    asked = Feedback("x").line() + "\n"
    run = subprocess.run(
        [*command, str(tmp_path / "none.json"), "1"], input=asked, capture_output=True, encoding="utf-8", check=False
    )
    assert run.returncode != 0
    assert "cannot use the request keys in" in run.stderr


def test_keys_are_newest_first(tmp_path: Path) -> None:
    """The order is what both sides go by."""
    path = tmp_path / "keys.json"
    make_request_keys(path, 1)
    newest = add_request_key(path, 2)
    keys: RequestKeys = read_request_keys(path)
    assert (keys.since_ms, [key.created_ms for key in keys.keys], keys.keys[0]) == (1, [2, 1], newest)


def _with_part(token: str, number: int, part: str) -> str:
    parts = token.split(".")
    parts[number] = part
    return ".".join(parts)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
