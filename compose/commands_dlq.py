"""`headrace dlq`: look at the records that could not be used, and send them again after a mend."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from compose.cli_options import (
    DEFAULT_CONFIG,
    DEFAULT_STATE,
    ConfigOption,
    EndpointsOption,
    JsonOption,
    StateOption,
    addresses,
)
from features.config import load_app_config

if TYPE_CHECKING:
    from compose.dlq_letters import Selection

dlq_app = typer.Typer(help="Dead letters: events that could not be used.", no_args_is_help=True)

ReasonOption = Annotated[list[str] | None, typer.Option("--reason", help="Only this reason; may be given again.")]
SinceOption = Annotated[str, typer.Option("--since", help="Only newer ones: an age (90m, 6h, 7d) or an ISO time.")]
LetterOption = Annotated[
    list[str] | None, typer.Option("--letter", help="Only this one, TOPIC:PARTITION:OFFSET; may be given again.")
]


@dlq_app.command("list")
def dlq_list(
    reason: ReasonOption = None,
    since: SinceOption = "",
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count dead letters by reason and topic, with the newest of each and how many were replayed."""
    from compose.dlq_letters import read_letters
    from compose.dlq_replay import read_markers
    from compose.dlq_view import count_letters, print_counts

    kafka = addresses(state, endpoints).kafka_servers
    letters = read_letters(kafka, _selection(reason, since, None))
    print_counts(count_letters(letters, read_markers(kafka)), as_json)


@dlq_app.command("show")
def dlq_show(
    reason: ReasonOption = None,
    since: SinceOption = "",
    letter: LetterOption = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="The newest this many.")] = 10,
    raw: Annotated[bool, typer.Option("--raw", help="Only the original bytes, a line break after each.")] = False,
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print single dead letters, newest first: place, reason, time and the original text.

    Control characters are written out, also with --raw on a terminal; into a file --raw writes the bytes as they are.
    """
    from compose.dlq_letters import read_letters
    from compose.dlq_replay import read_markers
    from compose.dlq_view import newest_letters, print_letters, write_raw

    kafka = addresses(state, endpoints).kafka_servers
    letters = newest_letters(read_letters(kafka, _selection(reason, since, letter)), limit)
    if raw:
        write_raw(letters)
    else:
        print_letters(letters, read_markers(kafka), as_json)


@dlq_app.command("replay")
def dlq_replay(
    reason: ReasonOption = None,
    since: SinceOption = "",
    letter: LetterOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent.")] = False,
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="FIELD=VALUE for every record; also context.NAME=VALUE.")
    ] = None,
    rename_action: Annotated[
        list[str] | None, typer.Option("--rename-action", help="OLD=NEW, for records of the action OLD.")
    ] = None,
    as_history: Annotated[
        bool, typer.Option("--as-history", help="To the backfill topic, which has no age limit.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Also what would come back or could count twice.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also those that were replayed before.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send dead letters again to where they came from, mended if told so; each counts once.

    A record keeps its event_id; one without gets TOPIC:PARTITION:OFFSET. What was sent is noted in Kafka and left out
    next time. Records that would only come back stay where they are, with the reason.
    """
    from compose.changed_jobs import changed_jobs
    from compose.dlq_letters import read_letters
    from compose.dlq_mend import ReplayRules, parse_mend
    from compose.dlq_replay import print_replay, read_markers, replay_letters
    from compose.errors import StackError
    from headrace_client import EventProducer, HeadraceClientError

    app = load_app_config(config)
    mend = parse_mend(sets or (), rename_action or (), app, len(letter or ()))
    rules = ReplayRules(app, time.time_ns() // 1_000_000, mend, as_history, force)
    places = addresses(state, endpoints)
    kafka = places.kafka_servers
    if not (dry_run or force) and (changed := changed_jobs(config.resolve(), places)):
        raise StackError(
            f"the running {' and '.join(changed)} job was made from another configuration than {config}: what that "
            "mends would come back. `headrace streams upgrade` brings it in, then replay; --force sends all the same"
        )
    letters = read_letters(kafka, _selection(reason, since, letter))
    markers = {} if again else read_markers(kafka)
    if dry_run:
        print_replay(replay_letters(letters, markers, rules, None), as_json)
        return
    try:
        with EventProducer(kafka, block_s=60.0, linger_ms=5) as producer:
            summary = replay_letters(letters, markers, rules, producer)
    except HeadraceClientError as error:
        raise StackError(f"{error}; run the same command again: what has arrived counts once") from error
    print_replay(summary, as_json)
    raise typer.Exit(summary.exit_code)


def _selection(reasons: Sequence[str] | None, since: str, letters: Sequence[str] | None) -> Selection:
    from compose.dlq_letters import Selection, check_letter_id, doubt_about, parse_since

    for doubt in filter(None, map(doubt_about, reasons or ())):
        print(f"headrace: {doubt}", file=sys.stderr)
    return Selection(frozenset(reasons or ()), parse_since(since), frozenset(map(check_letter_id, letters or ())))
