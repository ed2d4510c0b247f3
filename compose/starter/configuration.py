"""The text of a first `headrace.yaml`: short, and every line with the reason that somebody new needs."""

from __future__ import annotations

import json

from compose.starter.answers import ActionAnswer, Answers, ImportAnswer

_DEFAULT_SURFACE = "default"
_HEAD = """\
# This file describes one app. Unknown keys are refused, and everything that is not here has a default.
# Check it any time: `headrace doctor --config {path}`.
name: {name}   # of the model; letters a-z, digits, - and _

# What users can do, and what it says about the item.
#   positive: learn to bring this about; reward weighs it against the others (1.0 by default)
#   negative: learn to avoid it; neutral: counted in features, no opinion about the item
#   positive_when / negative_when: the event's `value` decides, for example "value >= 4"
# Apps must not send other actions: those events go to the dead letters as `unknown_action` (`headrace dlq list`).
actions:
{actions}
# Where lists are shown. Lists of a surface with `learn: false` leave no trace: for probes, tests, internal pages.
surfaces:
{surfaces}  probe: {{learn: false}}   # what `headrace recommend` uses

# A click within this time is feedback to the list that was shown; what nobody clicked until then stays a negative.
labels:
  window_s: 600
"""
_IMPORTS = """
# How past events are read: `headrace backfill {file} --mapping {name} --config {path}`
imports:
  {name}:
{columns}"""
_TAIL = """
# What teams usually turn on next; take the "# " away.
#
# features:
#   declared:   # features of your own, counted by the stream: docs/features.md
#     user_successes: {{entity: user, aggregation: count, actions: [{positive}], half_lives_s: [3600, 604800]}}
# rules:        # what the business wants of lists, whatever a model says: docs/serving.md
#   withdrawn: {{items: ["some-item"], block: true}}
# request_tokens: {{is_enabled: true}}   # feedback counts only with the token of its list: docs/events.md
"""


def configuration_text(answers: Answers, path: str) -> str:
    """Return the file; `path` is what its comments call it."""
    text = _HEAD.format(
        name=_scalar(answers.name),
        path=path,
        actions="".join(_action_line(action) for action in answers.actions),
        surfaces="".join(f"  {_scalar(name)}: {{learn: true}}{note}\n" for name, note in _surfaces(answers)),
    )
    if answers.events:
        text += _IMPORTS.format(
            file=answers.events.file_name, name=answers.events.name, path=path, columns=_import_lines(answers.events)
        )
    return text + _TAIL.format(positive=_scalar(first_positive(answers).name))


def first_positive(answers: Answers) -> ActionAnswer:
    """Return an action that counts as a success."""
    return next(action for action in answers.actions if action.outcome == "positive" or action.positive_when)


def _surfaces(answers: Answers) -> list[tuple[str, str]]:
    if answers.surface in (_DEFAULT_SURFACE, "probe"):
        return [(_DEFAULT_SURFACE, "")]
    return [(_DEFAULT_SURFACE, "   # of calls that name none"), (answers.surface, "")]


def _action_line(action: ActionAnswer) -> str:
    parts = [f"outcome: {action.outcome}"]
    if action.reward is not None:
        parts.append(f"reward: {action.reward}")
    if action.positive_when:
        parts.append(f"positive_when: {json.dumps(action.positive_when)}")
    note = f"   # {action.note}" if action.note else ""
    return f"  {_scalar(action.name)}: {{{', '.join(parts)}}}{note}\n"


def _import_lines(answer: ImportAnswer) -> str:
    lines = [f"    {field}: {_scalar(column)}\n" for field, column in answer.columns.items() if field != "event_time"]
    column, pattern = _scalar(answer.columns["event_time"]), json.dumps(answer.time_format)
    how = f"format: {pattern}" if answer.time_format else f"unit: {answer.time_unit}"
    lines.append(f"    event_time: {{path: {column}, {how}}}\n")
    if answer.default_action:
        lines.append(f"    default_action: {_scalar(answer.default_action)}   # the file has no column of actions\n")
    return "".join(lines)


def _scalar(text: str) -> str:
    """Return text as YAML reads it back: plain where it is a simple word, quoted else."""
    plain = text.replace("_", "").replace("-", "")
    is_word = plain.isascii() and plain.isalnum() and text[0].isalpha()
    if is_word and text.lower() not in ("yes", "no", "on", "off", "true", "false", "null", "y", "n"):
        return text
    return json.dumps(text, ensure_ascii=False)
