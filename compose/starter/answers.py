"""What an app is asked by `headrace init`, and the answers that are taken where nobody says anything."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from features.conditions import parse_condition
from features.config import ConfigError, nearest_name

_OUTCOMES = ("positive", "neutral", "negative")
_REWARD_MAX = 1000.0


@dataclass(frozen=True, slots=True)
class ActionAnswer:
    """What one action says about an item."""

    name: str
    outcome: str = "neutral"
    """`positive`, `neutral` or `negative`."""
    reward: float | None = None
    """Weight of the outcome; None: the default."""
    positive_when: str = ""
    """A condition on the event's value; empty: none."""
    note: str = ""
    """Why it was answered so; becomes a comment."""

    @classmethod
    def parse(cls, text: str) -> ActionAnswer:
        """Read `NAME`, `NAME=OUTCOME`, `NAME=OUTCOME:REWARD` or `NAME=CONDITION`, for example `rating=value >= 4`.

        Raises:
            ConfigError: it is none of these.
        """
        name, _, rest = (part.strip() for part in text.partition("="))
        if not name:
            raise ConfigError(f"--action {text!r} names no action; write for example --action click=positive")
        if not rest:
            return guess_action(name)
        if rest.startswith("value"):
            return cls(name, positive_when=_checked_condition(text, rest))
        outcome, _, reward = rest.partition(":")
        if outcome not in _OUTCOMES:
            raise ConfigError(f"--action {text!r}: unknown outcome {outcome!r}{nearest_name(outcome, _OUTCOMES)}")
        return cls(name, outcome, _checked_reward(text, reward) if reward else None)


@dataclass(frozen=True, slots=True)
class ImportAnswer:
    """How a file of past events is read: columns by field of an event."""

    name: str
    """Of the mapping, for `--mapping`."""
    file_name: str
    columns: Mapping[str, str]
    """`user_id`, `item_id`, `event_time`, maybe `action` and `value`: the column of each."""
    time_unit: str = "ms"
    """`ms`, `s`, `us`, `ns` or `iso`."""
    time_format: str = ""
    """Pattern of times that are none of these; empty: they are."""
    default_action: str = ""
    """Of a file without a column of actions."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Everything that the two files are made of."""

    name: str
    actions: Sequence[ActionAnswer]
    surface: str = "default"
    events: ImportAnswer | None = None

    def with_actions(self, actions: Sequence[ActionAnswer]) -> Answers:
        """Return the same answers with other actions."""
        return replace(self, actions=tuple(actions))


KINDS: Mapping[str, tuple[ActionAnswer, ...]] = {
    "shop": (
        ActionAnswer("view", note="saw its page: no opinion yet"),
        ActionAnswer("click", "positive", 1.0),
        ActionAnswer("cart", "positive", 3.0, note="put into the cart"),
        ActionAnswer("purchase", "positive", 5.0),
        ActionAnswer("dismiss", "negative", 0.5, note="said 'not interested'"),
    ),
    "media": (
        ActionAnswer("view", note="saw its page: no opinion yet"),
        ActionAnswer("play", positive_when="value >= 30", note="value: seconds played"),
        ActionAnswer("like", "positive", 2.0),
        ActionAnswer("dislike", "negative", 1.0),
    ),
    "articles": (
        ActionAnswer("click", "positive", 1.0),
        ActionAnswer("read", positive_when="value >= 20", note="value: seconds read"),
        ActionAnswer("share", "positive", 3.0),
        ActionAnswer("dismiss", "negative", 0.5, note="said 'less of this'"),
    ),
    "ratings": (
        ActionAnswer("view", note="saw its page: no opinion yet"),
        ActionAnswer("rating", positive_when="value >= 4", note="value: the stars"),
    ),
}
"""Usual actions by the kind of an app."""

_KNOWN: Mapping[str, tuple[str, float | None]] = {
    # What takes something back comes first: `remove_from_cart` is no cart, `unlike` no like.
    "dislike": ("negative", 1.0),
    "unlike": ("negative", 1.0),
    "dismiss": ("negative", 0.5),
    "hide": ("negative", 0.5),
    "skip": ("negative", 0.5),
    "remove": ("negative", 0.5),
    "delete": ("negative", 0.5),
    "cancel": ("negative", 1.0),
    "return": ("negative", 1.0),
    "refund": ("negative", 1.0),
    "purchase": ("positive", 5.0),
    "buy": ("positive", 5.0),
    "order": ("positive", 5.0),
    "transaction": ("positive", 5.0),
    "cart": ("positive", 3.0),
    "basket": ("positive", 3.0),
    "share": ("positive", 3.0),
    "like": ("positive", 2.0),
    "favorite": ("positive", 2.0),
    "favourite": ("positive", 2.0),
    "wishlist": ("positive", 2.0),
    "save": ("positive", 2.0),
    "click": ("positive", 1.0),
    "play": ("positive", 1.0),
    "watch": ("positive", 1.0),
    "read": ("positive", 1.0),
    "select": ("positive", 1.0),
}
"""Words in the names of actions and what they usually say; the first that fits counts."""


def guess_action(name: str) -> ActionAnswer:
    """Answer by an action's name: `add_to_cart` is positive, `page_view` neutral."""
    if "rating" in name.lower() or name.lower() == "rate":
        return ActionAnswer(name, positive_when="value >= 4", note="guessed by its name")
    for word, (outcome, reward) in _KNOWN.items():
        if word in name.lower():
            return ActionAnswer(name, outcome, reward, note="guessed by its name")
    return ActionAnswer(name)


def with_a_positive(actions: Sequence[ActionAnswer]) -> tuple[ActionAnswer, ...]:
    """Return the actions, the last of them positive where none is: a learner needs something to aim at."""
    if any(action.outcome == "positive" or action.positive_when for action in actions):
        return tuple(actions)
    last = replace(actions[-1], outcome="positive", note="something must be a success; is it this one?")
    return (*actions[:-1], last)


def app_name_of(text: str) -> str:
    """Make a model name out of any text, such as a folder's name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:64] or "app"


def _checked_condition(text: str, condition: str) -> str:
    try:
        parse_condition(condition)
    except ValueError as error:
        raise ConfigError(f"--action {text!r}: {error}") from error
    return condition


def _checked_reward(text: str, reward: str) -> float:
    try:
        number = float(reward)
    except ValueError:
        number = -1.0
    if not 0.0 <= number <= _REWARD_MAX:
        raise ConfigError(f"--action {text!r}: the reward must be a number from 0 to {_REWARD_MAX:g}, not {reward!r}")
    return number
