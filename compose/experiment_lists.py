"""Lists of experiments with what they earned, from Kafka: served lists name their arm, corrections name their list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from features.config import AppConfig
from serving.arms.clustered_mean import ClusteredMean
from serving.arms.feedback import decode_feedback

SERVED_TOPIC = "headrace.served.v1"


class _Served(msgspec.Struct):
    request_id: str
    user_id: str
    served_time_ms: int
    learn: bool = True
    experiment: str = ""
    arm: str = ""


@dataclass
class ArmLists:
    """What an arm showed and earned."""

    reward: ClusteredMean = field(default_factory=ClusteredMean)
    """Reward a list, of the lists that feedback is joined with."""
    requests: int = 0
    """All its lists, those of surfaces with `learn: false` too."""
    users: set[str] = field(default_factory=set)
    """Who got any of them."""


@dataclass
class ExperimentLists:
    """One experiment."""

    name: str
    arms: dict[str, ArmLists] = field(default_factory=dict)
    first_ms: int = 0
    last_ms: int = 0
    """Of its lists, by the server's clock."""


def read_experiments(
    served: Iterable[bytes | None], samples: Iterable[bytes | None], app: AppConfig
) -> dict[str, ExperimentLists]:
    """Return name -> experiment.

    A list earns what `headrace evaluate --ips` counts too: `actions.*.reward` for every positive event that names it,
    less that of every negative one. The sample job has joined them already: items that were on the list, the user who
    got it, within `labels.correction_horizon_h`, each event once.

    Args:
        served: records of `headrace.served.v1`.
        samples: records of `headrace.samples.v1`.
        app: what actions are worth.
    """
    found: dict[str, ExperimentLists] = {}
    shown = _read_served(served, found)
    seen: set[str] = set()
    for value in samples:
        feedback = decode_feedback(value)
        if feedback is None or feedback.event_id in seen:
            continue
        where = shown.get(feedback.request_id)
        if where is None or where[0] is None:
            continue
        seen.add(feedback.event_id)
        where[0].reward.add(where[1], amount=feedback.reward(app))
    return found


def _read_served(
    records: Iterable[bytes | None], found: dict[str, ExperimentLists]
) -> dict[str, tuple[ArmLists | None, str]]:
    """Count the lists of experiments; return request -> arm and user, no arm where no feedback is joined."""
    shown: dict[str, tuple[ArmLists | None, str]] = {}
    for value in records:
        one = _decoded(value)
        if one is None or not one.experiment or one.request_id in shown:
            continue
        experiment = found.setdefault(one.experiment, ExperimentLists(one.experiment, first_ms=one.served_time_ms))
        experiment.first_ms = min(experiment.first_ms, one.served_time_ms)
        experiment.last_ms = max(experiment.last_ms, one.served_time_ms)
        arm = experiment.arms.setdefault(one.arm, ArmLists())
        arm.requests += 1
        arm.users.add(one.user_id)
        if one.learn:
            arm.reward.add(one.user_id, lists=1)
        shown[one.request_id] = arm if one.learn else None, one.user_id
    return shown


def _decoded(value: bytes | None) -> _Served | None:
    """Return a list, None for a tombstone or what cannot be read: the jobs pass over those too."""
    if value is None:
        return None
    try:
        return msgspec.json.decode(value, type=_Served)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
