"""The `serving` section of `headrace.yaml`."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from features.config import StrictConfig
from features.security.config import SecurityConfig
from serving.tracing import TracingConfig

_LONGEST_LIST = 500
_ROUNDING = 1e-9
_ARM_NAME = r"[A-Za-z0-9_.-]{1,64}"
CANARY_PREFIX, STABLE_ARM, CANARY_ARM = "canary-", "stable", "canary"
"""Canaries are experiments too: `canary-EPOCH.SEQ`, with these two arms."""


class DiversityConfig(StrictConfig):
    """How unlike the items of a list must be."""

    relevance_weight: float = Field(1.0, gt=0, le=1)
    """1 orders by score alone; below it, likeness to the items above costs (maximal marginal relevance)."""
    candidates: int = Field(60, ge=2, le=500)
    """Best candidates that are put in a new order, at least the length of the list."""
    category_cap: int = Field(0, ge=0, le=_LONGEST_LIST)
    """Most items of any one category on a list; 0 is no cap."""


class ExplorationConfig(StrictConfig):
    """Places where a draw decides, so that what is not known well is tried, and the chances are known."""

    policy: Literal["off", "epsilon", "softmax"] = "off"
    """`epsilon`: mostly the best, else any of the nearest. `softmax`: the nearest by exp(score / temperature)."""
    slots: tuple[int, ...] = ()
    """Places of the list, from 0, that are drawn for."""
    epsilon: float = Field(0.1, gt=0, le=1)
    """Chance that a place is drawn for evenly."""
    temperature: float = Field(0.5, gt=0, le=100)
    """Scores are log odds: at 0.5 an item with twice the odds is drawn four times as often."""
    candidates: int = Field(20, ge=2, le=200)
    """The nearest: how many of the best that may still stand there take part."""
    fresh_share: float = Field(0.0, ge=0, lt=1)
    """Budget for new items: the share of draws that go evenly to the fresh candidates."""
    fresh_h: float = Field(48.0, gt=0)
    """Hours since its publication during which an item is fresh."""
    surfaces: tuple[str, ...] = ()
    """Where; every surface that learns by default. A surface that does not learn is never drawn for."""

    @field_validator("slots")
    @classmethod
    def _are_places(cls, slots: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 0 <= slot < _LONGEST_LIST for slot in slots) or len(set(slots)) < len(slots):
            raise ValueError(f"{list(slots)} must be different places from 0 to {_LONGEST_LIST - 1}")
        return slots

    @model_validator(mode="after")
    def _has_slots(self) -> ExplorationConfig:
        if self.policy != "off" and not self.slots:
            raise ValueError(f"policy {self.policy} needs slots; name the places to draw for, for example [4, 9]")
        return self


class ArmConfig(StrictConfig):
    """What a share of the users gets: another version than the live one, lists made in another way, or both."""

    share: float = Field(gt=0, le=1)
    """Part of all users, by a hash of their ids."""
    version: str = Field("", pattern=r"^(\d+\.\d+)?$")
    """EPOCH.SEQ that the arm stays at, held in memory beside the live one; empty: the live version, as it changes."""
    diversity: DiversityConfig | None = None
    """In place of `serving.diversity`."""
    exploration: ExplorationConfig | None = None
    """In place of `serving.exploration`."""

    @field_validator("version", mode="before")
    @classmethod
    def _is_text(cls, version: Any) -> Any:
        if isinstance(version, float | int):
            raise ValueError(f"{version} is a number, which ends 3.10 as 3.1; write it in quotes")
        return version


class CanaryConfig(StrictConfig):
    """When a version that serves a share of the users goes back, and when it takes over (docs/serving.md#canaries)."""

    duration_s: float = Field(3600.0, ge=0)
    """How long both versions serve before the canary takes over, where nothing spoke against it."""
    min_users: int = Field(100, ge=2)
    """Users that either version must have served first; before so many, latency and reward are not judged."""
    level: float = Field(0.01, gt=0, lt=0.5)
    """Chance that a version as good as the live one is rolled back, over all signals and the whole time together."""
    error_ratio: float = Field(1.0, ge=1, le=100)
    """Users with a failed ranking may be this many times as many as beside the canary."""
    latency_ratio: float = Field(1.5, ge=1, le=100)
    """A ranking may take this many times as long: what serves few requests is less in the processor's caches."""
    reward_loss: float = Field(0.0, ge=0, lt=1)
    """Part of the reward a list that may be lost; 0: any loss that is certain is too much."""
    check_s: float = Field(1.0, gt=0, le=3600)
    """How often it is looked at; looking more often raises no more false alarms."""


class OverloadConfig(StrictConfig):
    """What is refused so that the rest is answered in time."""

    max_in_flight: int = Field(64, ge=1, le=100_000)
    """Requests in work or waiting for their turn; more are answered RESOURCE_EXHAUSTED at once."""
    prefetch_share: float = Field(0.5, gt=0, le=1)
    """Part of the places that requests made ahead of need may take."""
    busy_share: float = Field(0.5, gt=0, le=1)
    """Part of its deadline that a request may expect to wait behind others; one that would wait longer is refused."""
    retry_ms: int = Field(50, ge=1, le=60_000)
    """When a refused client may come again, told in the trailing metadata `grpc-retry-pushback-ms`."""
    reserved_calls: int = Field(32, ge=1, le=10_000)
    """Calls that the server takes beside twice those, for refusals and health; none is kept for health alone."""
    quota_per_s: float = Field(0.0, ge=0)
    """Requests a second and token (`authorization: Bearer ...`, all without one together); 0 is no quota."""
    quota_burst_s: float = Field(2.0, gt=0, le=3600)
    """Seconds of quota that may be used at once."""


class ServingConfig(StrictConfig):
    """Addresses, budgets and bounds of one server process."""

    address: str = "127.0.0.1:50051"
    """Where `Recommender` listens, `host:port`, unless `--address` or the endpoints file says. Other machines reach it
    only with TLS and tokens (`security`)."""
    security: SecurityConfig = Field(default_factory=SecurityConfig)
    """TLS, tokens, bounds of a connection."""
    deadline_ms: float = Field(100.0, gt=0, le=60_000)
    """By when a request is answered whose client sets no deadline; what does not fit is cut and named."""
    reserve_ms: float = Field(2.0, ge=0)
    """Part of every deadline that is kept for the answer's way back."""
    overload: OverloadConfig = Field(default_factory=OverloadConfig)
    """Quotas and what runs at once."""
    diversity: DiversityConfig = Field(default_factory=DiversityConfig)
    """How unlike the items of a list must be."""
    exploration: ExplorationConfig = Field(default_factory=ExplorationConfig)
    """Places where a draw decides."""
    experiment: str = Field("", pattern=r"^[A-Za-z0-9_.-]{0,64}$")
    """Names the comparison of `arms`, and salts the hash: under another name users are dealt anew. Empty: none."""
    arms: dict[str, ArmConfig] = Field(default_factory=dict)
    """By name; the first is what the others are compared with. Users beyond all shares take part in nothing."""
    canary: CanaryConfig = Field(default_factory=CanaryConfig)
    """What `headrace models load VERSION --canary SHARE` goes by."""
    fallback_items: tuple[str, ...] = ()
    """Item ids for the day on which nothing at all is known: the last step of the fallback ladder."""
    cached_rankings: int = Field(10_000, ge=0, le=1_000_000)
    """Users whose last ranking is kept, 2 KB each, for when there is no time to rank."""
    cached_ranking_s: float = Field(300.0, gt=0)
    """How long such a ranking is good."""
    rules_check_s: float = Field(1.0, gt=0, le=3600)
    """How often the rules of `headrace.yaml` are looked at."""
    max_request_bytes: int = Field(64 * 1024, ge=1024)
    """Largest request accepted."""
    max_reply_bytes: int = Field(1024 * 1024, ge=1024)
    """Largest reply sent: 500 items with 128-byte ids stay far below."""
    feature_read_ms: float = Field(50.0, gt=0)
    """Budget of the user read. It takes 1 ms; where ten processes share two cores, Redis may wait 30 for its turn."""
    max_user_reads: int = Field(4, ge=1, le=1024)
    """User reads in flight; further requests queue before theirs. One core ranks: more would only wait behind it."""
    catalog_ms: int = Field(100, ge=0, le=10_000)
    """Requests share item counters this old; decaying every item anew for each would cost a third of the request. On
    large catalogues they are older, half a minute at most, as no more than a twentieth of the time goes into them;
    items that may no longer be shown are gone within a second all the same."""
    breaker_after_ms: float = Field(100.0, ge=0)
    """Time without a successful read, counted from the first failure, after which the store is left alone."""
    breaker_pause_ms: float = Field(250.0, gt=0)
    """How long the store is left alone before one request probes it: full quality returns well within 2 s."""
    catch_up_s: float = Field(10.0, ge=0)
    """How long the start waits for item features to be read to the end before it serves with what is there."""
    served_log_queue: int = Field(4096, ge=1)
    """Served lists waiting for Kafka; more are dropped and counted, no caller waits."""
    tower_index_items: int = Field(50_000, ge=0)
    """Items from which on the nearest by the tower are looked up in an index, where that is quicker than the products
    of all (docs/serving.md, "Large catalogues"); 0 is never."""
    cold_start_versions: int = Field(3, ge=1)
    """Newest versions of the local model store that a start tries before it serves without a model."""
    workers: int = Field(1, ge=1, le=256)
    """Processes that share the port (`--workers`): one per core that serving may have. Each has its own event loop,
    models and bounds: what stands in this section holds for each."""
    drain_s: float = Field(5.0, ge=0)
    """How long calls in flight may still run after SIGTERM."""
    tracing: TracingConfig = Field(default_factory=TracingConfig)
    """Traces of requests and their stages."""
    reflection: bool = False
    """Offer gRPC server reflection, to callers with a token of role `admin`. Channelz is not there at all."""

    @model_validator(mode="after")
    def _arms_make_an_experiment(self) -> ServingConfig:
        total = sum(arm.share for arm in self.arms.values())
        if bool(self.arms) != bool(self.experiment):
            raise ValueError("experiment and arms need each other: name the experiment, and give it two arms or more")
        if len(self.arms) == 1:
            raise ValueError(f"arms has {next(iter(self.arms))!r} alone; give it another one to be compared with")
        if total > 1.0 + _ROUNDING:
            raise ValueError(f"the shares of arms sum up to {total:g}; make it 1 or less")
        for name in self.arms:
            if not re.fullmatch(_ARM_NAME, name):
                raise ValueError(f"arms: {name!r:.80} is no name; use 1 to 64 letters, digits, _, . and -")
        if self.experiment.startswith(CANARY_PREFIX):
            raise ValueError(f"experiment {self.experiment!r} begins as canaries are named; take another name")
        return self
