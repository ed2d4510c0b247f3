"""The few questions of `headrace init`, asked on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from compose.starter.answers import KINDS, ActionAnswer, Answers, app_name_of, with_a_positive
from features.config import ConfigError

Ask = Callable[[str, str], str]
"""Asks one question and returns the answer; the second text is taken where nothing is typed."""


def ask_all(ask: Ask, say: Callable[[str], object], proposed: Answers) -> Answers:
    """Ask for everything that an option did not say."""
    name = app_name_of(ask("What is the app called?", proposed.name))
    actions = proposed.actions
    if proposed.events is None:
        kind = _one_of(ask, say, f"What kind of app is it ({', '.join(KINDS)})?", tuple(KINDS))
        actions = KINDS[kind]
    actions = _ask_actions(ask, say, actions)
    surface = ask("Where will the first list be shown?", proposed.surface).strip() or proposed.surface
    return replace(proposed, name=name, actions=actions, surface=surface)


def _one_of(ask: Ask, say: Callable[[str], object], question: str, choices: Sequence[str]) -> str:
    while (answer := ask(question, choices[0]).strip().lower()) not in choices:
        say(f"  one of {', '.join(choices)}, please")
    return answer


def _ask_actions(ask: Ask, say: Callable[[str], object], actions: Sequence[ActionAnswer]) -> tuple[ActionAnswer, ...]:
    """Ask which actions there are; known ones keep what was said of them, others may say it: NAME=positive."""
    default = ", ".join(action.name for action in actions)
    known = {action.name: action for action in actions}
    while True:
        texts = [text.strip() for text in ask("What can users do? (NAME or NAME=positive)", default).split(",")]
        try:
            return with_a_positive([known.get(text) or ActionAnswer.parse(text) for text in texts if text])
        except (ConfigError, IndexError) as error:
            say(f"  {error if isinstance(error, ConfigError) else 'name at least one action'}")
