"""What `headrace init` writes can be used as it is: by the loader that every part uses, and against a real stack."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from compose.config import HeadraceConfig, load_headrace_config
from compose.imports.events_file import ImportOptions
from compose.imports.mapping import load_mapping
from compose.starter.answers import KINDS, ActionAnswer, Answers, app_name_of, guess_action
from compose.starter.questions import ask_all
from features.config import ConfigError
from tests.compose.events_files import read
from tests.compose.running_commands import ENVIRONMENT, held
from tests.compose.test_cli import run
from tests.running_stack import RunningStack

RATINGS = "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n1,1029,5.0,1260759179\n2,31,4.0,1260759182\n"
CLICKS = "visitorid,itemid,event,timestamp\n7,a,view,1433221332117\n7,a,addtocart,1433221432117\n"


def written(folder: Path, *options: str) -> HeadraceConfig:
    """Run `init` without questions, and load what it wrote."""
    assert run("init", str(folder / "app"), "--yes", *options) == 0
    return load_headrace_config(folder / "app" / "headrace.yaml")


def uncommented(path: Path) -> None:
    """Take the "# " away from what the file proposes to turn on."""
    head, tail = path.read_text().split("# What teams usually turn on next")
    lines = tail.splitlines()[2:]
    path.write_text(head + "\n".join(line.removeprefix("# ") for line in lines) + "\n")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_a_whole_configuration(kind: str, tmp_path: Path) -> None:
    """Its actions are those of the kind, and what it proposes in comments can be turned on."""
    config = written(tmp_path, "--kind", kind, "--surface", "front page")
    assert list(config.app.actions) == [action.name for action in KINDS[kind]]
    assert list(config.app.surfaces) == ["default", "front page", "probe"]
    uncommented(tmp_path / "app" / "headrace.yaml")
    assert "user_successes" in load_headrace_config(tmp_path / "app" / "headrace.yaml").app.features.declared


def test_actions_can_be_said_by_options(tmp_path: Path) -> None:
    """With outcome, reward or condition; names that YAML would read as something else are quoted."""
    said = ["--action", "yes=positive:2.5", "--action", "stars=value >= 4", "--action", "seen"]
    actions = written(tmp_path, *said).app.actions
    assert (actions["yes"].reward, actions["stars"].positive_when, actions["seen"].outcome) == (
        2.5,
        "value >= 4",
        "neutral",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("=positive", "names no action"),
        ("click=good", "unknown outcome 'good'"),
        ("click=positive:2000", "from 0 to 1000, not '2000'"),
        ("rating=value > x", "is not a condition"),
    ],
)
def test_an_action_that_says_nothing_is_refused(text: str, said: str) -> None:
    """With what may stand there."""
    with pytest.raises(ConfigError, match=said):
        ActionAnswer.parse(text)


def test_a_file_of_ratings_is_understood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Columns, the unit of time and what counts as a success; the mapping that is written reads the file."""
    (tmp_path / "ratings.csv").write_text(RATINGS)
    config = written(tmp_path, "--events", str(tmp_path / "ratings.csv"))
    assert config.app.actions["rating"].positive_when == "value >= 4"
    files = [str(tmp_path / "ratings.csv"), "--config", str(tmp_path / "app" / "headrace.yaml")]
    assert run("backfill", *files, "--mapping", "ratings", "--dry-run") == 0
    assert "3 rows make 3 events" in capsys.readouterr().out


def test_the_actions_of_a_file_are_declared(tmp_path: Path) -> None:
    """Each with what its name usually means."""
    (tmp_path / "clicks.csv").write_text(CLICKS)
    config = written(tmp_path, "--events", str(tmp_path / "clicks.csv"))
    assert {name: action.outcome for name, action in config.app.actions.items()} == {
        "view": "neutral",
        "addtocart": "positive",
    }
    assert config.imports["clicks"].event_time.unit == "ms"


@pytest.mark.parametrize(
    ("times", "expected_ms"),
    [
        (["2026-10-25 00:00:41 UTC", "2026-10-25 00:01:00 UTC"], 1_792_886_441_000),
        (["25.10.2026 00:00", "26.10.2026 00:00"], 1_792_886_400_000),
        (["03/04/2026 12:00 AM", "10/25/2026 12:00 AM"], 1_772_582_400_000),
    ],
)
def test_times_as_people_write_them_are_understood(times: list[str], expected_ms: int, tmp_path: Path) -> None:
    """By the one pattern that fits all of them: a day above 12 tells months from days."""
    path = tmp_path / "clicks.csv"
    path.write_text("user,item,action,time\n" + "".join(f"1,2,click,{time}\n" for time in times))
    written(tmp_path, "--events", str(path))
    mapping = load_mapping(tmp_path / "app" / "headrace.yaml", "clicks")
    assert read(path, ImportOptions(mapping, ["click"]))[0][0].event_time_ms == expected_ms


def test_what_takes_back_is_no_success() -> None:
    """Whatever it takes back."""
    taken = ("remove_from_cart", "unlike", "cancel_order", "dislike")
    assert {guess_action(name).outcome for name in taken} == {"negative"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "no column that looks like user_id, item_id, event_time; its columns are a, b"),
        ("user,item,time\n1,2,yesterday\n", "time holds 'yesterday', neither a number nor an ISO 8601 time"),
        ("user,item,time\n1,2,03/04/2026\n", "fits %d/%m/%Y and %m/%d/%Y"),
        ("user,item,time\n", "holds no rows"),
    ],
)
def test_a_file_that_is_not_understood_says_what_to_do(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing is written."""
    (tmp_path / "events.csv").write_text(text)
    assert run("init", str(tmp_path / "app"), "--yes", "--events", str(tmp_path / "events.csv")) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "app").exists()


def test_nothing_is_overwritten_without_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where only one of both files is there; --dry-run shows, and writes nothing."""
    (tmp_path / "headrace.yaml").write_text("mine")
    assert run("init", str(tmp_path), "--yes") == 1
    assert "or --force to overwrite" in capsys.readouterr().err
    assert run("init", str(tmp_path), "--yes", "--dry-run") == 0
    assert "actions:" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["headrace.yaml"]
    assert run("init", str(tmp_path), "--yes", "--force") == 0
    assert load_headrace_config(tmp_path / "headrace.yaml").app.name == app_name_of(tmp_path.name)


def test_questions_take_what_is_typed_and_ask_again() -> None:
    """Return takes what is proposed; an answer that says nothing is explained."""
    typed = iter(["My Shop!", "zoo", "articles", "click, click=bad", "click, hide_it, poke=negative", ""])
    told: list[str] = []

    def ask(_question: str, default: str) -> str:
        return next(typed) or default

    answers = ask_all(ask, told.append, Answers("app", KINDS["shop"]))
    assert (answers.name, answers.surface) == ("my-shop", "default")
    assert [(one.name, one.outcome) for one in answers.actions] == [
        ("click", "positive"),
        ("hide_it", "negative"),
        ("poke", "negative"),
    ]
    assert len(told) == 2


def test_an_app_without_a_success_gets_one(tmp_path: Path) -> None:
    """The loader would refuse it else; the comment asks whether that is right."""
    assert guess_action("looked").outcome == "neutral"
    assert written(tmp_path, "--action", "looked").app.actions["looked"].outcome == "positive"
    assert "something must be a success" in (tmp_path / "app" / "headrace.yaml").read_text()


@pytest.mark.stack
def test_the_first_producer_runs_against_a_stack(stack: RunningStack, tmp_path: Path) -> None:
    """Items, events and feedback arrive, and the answer is shown."""
    actions = ["--action", "view=neutral", "--action", "rating=value >= 4", "--action", "like=positive"]
    written(tmp_path, *actions)
    words = [sys.executable, str(tmp_path / "app" / "first_events.py")]
    words += ["--kafka", stack.endpoints.kafka, "--serving", stack.endpoints.serving]
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Kafka has 3 items and 3 events" in done.stdout
    mine = [event for event in held(stack, "headrace.events.v1") if event["user_id"] in ("user-1", "user-2", "user-3")]
    assert {event["action"] for event in mine} >= {"view", "rating", "like"}
