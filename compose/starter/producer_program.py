"""The text of a first program: announce items, send events, ask for a list, send what the user did with it."""

from __future__ import annotations

import json

from compose.starter.answers import ActionAnswer, Answers
from compose.starter.configuration import first_positive

_PROGRAM = '''\
"""Tell Headrace what users of {name} do, and ask what to show them.

    python {file} --kafka 127.0.0.1:9092 --serving 127.0.0.1:50051

Needs the package headrace-client only. Copy from here what your backend needs; the guide is docs/events.md.
"""

from __future__ import annotations

import argparse
import sys

from headrace_client import Event, EventProducer, HeadraceClientError, Item, Recommender

# What you offer. Announce an item again whenever it changes: the newest announcement is the whole truth.
ITEMS = [
    Item("item-1", title="The first item", categories=["examples"]),
    Item("item-2", title="The second item", categories=["examples"]),
    Item("item-3", title="The third item", categories=["examples"]),
]

# What users did, oldest first: one event for each action that headrace.yaml declares.
# event_id and event_time_ms are filled in. Make the id yourself where the thing happens: sent twice, it counts once.
EVENTS = [
{events}]


def main() -> int:
    """Announce, send, ask, and send what the user did with the list."""
    parser = argparse.ArgumentParser(description="A first event producer for {name}.")
    parser.add_argument("--kafka", default="127.0.0.1:9092", help="bootstrap servers")
    parser.add_argument("--serving", default="127.0.0.1:50051", help="address of the Recommender")
    options = parser.parse_args()
    try:
        with EventProducer(options.kafka) as producer, Recommender(options.serving, deadline_s=5.0) as recommender:
            sent = [producer.announce(item) for item in ITEMS] + [producer.send(event) for event in EVENTS]
            for acknowledgement in sent:
                acknowledgement.result()  # Raises where Kafka does not have it for good.
            print(f"Kafka has {{len(ITEMS)}} items and {{len(EVENTS)}} events")

            answer = recommender.recommend("new-user", num_items=3, surface={surface})
            for item in answer.items:
                print(f"  {{item.position}}  {{item.item_id}}  score {{item.score:.3f}}  from {{item.source}}")
            if not answer.items:
                print("no list yet: nothing is known in the first second of a new app; run this again")
                return 0

            # Feedback names the list that it reacts to: then the learner knows what the user saw and did not take.
            chosen = answer.items[0].item_id
            producer.send(Event.in_answer_to(answer, "new-user", chosen, {action_text}{value})).result()
            print("new-user:", {action_text}, f"of {{chosen}}, in answer to {{answer.request_id}}")
    except HeadraceClientError as error:
        print(f"{{error}}; is the stack up? `headrace status`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
'''


def producer_text(answers: Answers, file: str) -> str:
    """Return the program; `file` is its own name."""
    success = first_positive(answers)
    events = "".join(
        f'    Event("user-{index + 1}", "item-{index % 3 + 1}", {_quoted(action.name)}{_value_argument(action)}),\n'
        for index, action in enumerate(answers.actions)
    )
    return _PROGRAM.format(
        name=answers.name,
        file=file,
        events=events,
        surface=_quoted(answers.surface),
        action_text=_quoted(success.name),
        value=_value_argument(success),
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _value_argument(action: ActionAnswer) -> str:
    return f", value={_value_of(action)}" if action.positive_when else ""


def _value_of(action: ActionAnswer) -> float:
    """Return a value that meets the action's condition."""
    bound = float(action.positive_when.replace("=", " ").replace(">", " ").replace("<", " ").split()[-1])
    return bound + 1.0 if ">" in action.positive_when else bound if "=" in action.positive_when else bound - 1.0
