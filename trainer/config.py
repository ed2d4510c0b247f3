"""The `trainer` section of `headrace.yaml`."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import Field, model_validator

from features.config import AppConfig, StrictConfig
from features.label_config import Labels
from trainer.step_config import RowLimits, StepConfig

_MAX_SLICES = 24


class DriftConfig(StrictConfig):
    """When a change of the world is called one, and what then happens."""

    is_enabled: bool = True
    """Whether loss and label rate are watched."""
    policy: Literal["raise_rate", "ask_fresh"] = "raise_rate"
    """`raise_rate`: learn faster for a while. `ask_fresh`: say that a model trained anew is wanted, change nothing."""
    raise_by: float = Field(4.0, ge=1.0, le=100.0)
    """Learning rates are multiplied by this right after an alarm ..."""
    raise_steps: int = Field(300, ge=1, le=1_000_000)
    """... and are back to normal after this many micro-batches."""
    warm_up_steps: int = Field(300, ge=100, le=100_000)
    """Micro-batches after the start, and after an alarm, without an alarm: what is normal must be known first."""
    adwin_delta: float = Field(1e-4, gt=0, lt=1)
    """ADWIN's chance of a false alarm at each of its tests."""
    page_hinkley_slack: float = Field(0.5, ge=0, le=3)
    """Page-Hinkley: spreads by which a signal may stand above its mean for good."""
    page_hinkley_threshold: float = Field(12.0, gt=0)
    """Page-Hinkley: summed spreads beyond the slack that make an alarm."""


class UserRowsConfig(StrictConfig):
    """Which users have an embedding row of their own; the others are judged by their history alone."""

    max_rows: int = Field(1_000_000, ge=1, le=100_000_000)
    """Hard bound. A row takes `4 * embedding_dim` bytes and about 170 for id, order and state; at the bound the least
    recently used row goes first, and its user starts anew when it comes back."""
    admit_after: int = Field(1, ge=1, le=255)
    """Positives after which a user gets a row. Those of users without one are counted in a sketch of 1 MB that halves
    its counts every 65,536, so that one-time visitors cost nothing; it never makes a user wait longer."""
    expire_after_h: float = Field(0.0, ge=0, le=87_600)
    """A row goes when its user had no positive for this long by the stream's clock; 0 keeps it until room is needed."""


class LearnerConfig(StrictConfig):
    """Model sizes and learning rates: what the weights are a function of, beside the samples."""

    embedding_dim: int = Field(32, ge=2, le=1024)
    """Length of user, item and category rows."""
    embedding_learning_rate: float = Field(0.2, gt=0, le=1.0)
    """Row-wise Adagrad of the embedding rows."""
    embedding_scale: float = Field(0.1, ge=0, le=1.0)
    """Standard deviation of a new item or category row; user rows start at zero, so a new user is judged by history."""
    learning_rate: float = Field(2e-3, gt=0, le=0.1)
    """Adam on the dense weights; 1e-3 to 3e-3 measured best, 3e-4 is too slow for a stream."""
    pre_ranker_learning_rate: float = Field(0.3, gt=0, le=10.0)
    """Alpha of FTRL on the weights that cut the pool to a list, see trainer/pre_ranker_learner.py."""
    update_clip: float = Field(0.02, ge=0, le=10.0)
    """No dense weight moves in one step by more than this and half its size, else the whole update shrinks; 0 is off.
    Normal steps of Adam stay well below it: about three learning rates."""
    softmax_weight: float = Field(0.3, ge=0, le=10.0)
    """Weight of the listwise softmax beside BCE: BCE calibrates, softmax ranks."""
    heads_weight: float = Field(1.0, ge=0, le=10.0)
    """Weight of the heads' losses (`labels.heads`, each a chance of its own) in the layers that they share with the
    ranker; 0 switches heads off: their chances then mean nothing."""
    strongest_rivals: int = Field(32, ge=0, le=2000)
    """Of a list that nobody was shown, so many of the highest scores are learnt beside what was chosen ..."""
    drawn_rivals: int = Field(32, ge=1, le=2000)
    """... and so many drawn from all others, weighted for those they stand for. Shown lists are learnt whole."""
    retrieval_negatives: int = Field(256, ge=1, le=10_000)
    """Uniformly drawn items beside the in-batch ones in the sampled softmax."""
    replay_rows: int = Field(100_000, ge=0, le=10_000_000)
    """Ranker rows of recent lists kept for replay: 8 MB a 50,000 rows."""
    fake_negatives: Literal["corrected", "trusted"] = "corrected"
    """Negatives of lists under `labels.policy: immediate`: importance-weighted because some become positive later, or
    taken as true. Under `wait` they always are."""
    user_weight_cap: float = Field(1000.0, ge=0)
    """Weight that one user may teach in a window: the rewards of the labels of an event, 1 for a shown list. What comes
    on top counts in every feature and teaches nothing. Far above what people do in an hour; 0 is off."""
    user_weight_window_s: float = Field(3600.0, gt=0, le=604_800.0)
    """Length of that window in stream time."""
    learns_position_bias: bool = True
    """Whether places of shown lists get a bias of their own in training, so that what stood on top by chance is not
    taken for good. Answers are scored without it, as for an average place."""
    learnt_once_limit: int = Field(2_000_000, ge=1000)
    """Most labels remembered, so that a repeated sample is learnt once, about 150 bytes each. They are kept for the
    correction horizon and an hour; where this bound is lower the oldest go first and could be learnt again."""
    mixed_precision: bool = False
    """Compute the ranker's hidden layers in bfloat16; weights, sums and the loss stay float32. For steps of thousands
    of rows: at the hundreds of a micro-batch it costs time. Figures of a GPU are missing yet (docs/scaling.md)."""
    user_rows: UserRowsConfig = UserRowsConfig()
    """Bound, admission and expiry of users' rows. Items and categories have a row each as long as the catalogue has
    them: what bounds the catalogue bounds these."""
    drift: DriftConfig = DriftConfig()
    """What is done when the world changes."""
    seed: int = Field(17, ge=0)
    """Of initial rows, drawn negatives and replay."""

    def step_config(self, head_scales: tuple[float, ...]) -> StepConfig:
        """Return what the weights' learner takes of this, and of the app's heads."""
        return StepConfig(
            embedding_dim=self.embedding_dim,
            embedding_learning_rate=self.embedding_learning_rate,
            embedding_scale=self.embedding_scale,
            learning_rate=self.learning_rate,
            softmax_weight=self.softmax_weight,
            heads_weight=self.heads_weight,
            head_scales=head_scales,
            replay_rows=self.replay_rows,
            corrects_fake_negatives=self.fake_negatives == "corrected",
            mixed_precision=self.mixed_precision,
            user_rows=RowLimits(
                max_rows=self.user_rows.max_rows,
                admit_after=self.user_rows.admit_after,
                expire_after_ms=round(3_600_000 * self.user_rows.expire_after_h),
            ),
            update_clip=self.update_clip,
            learns_position_bias=self.learns_position_bias,
            seed=self.seed,
        )


class SlicesConfig(StrictConfig):
    """Parts of the traffic whose metrics are also told apart; together at most 24."""

    user: bool = True
    """New users (fewer than 5 earlier events) and known ones."""
    actions: tuple[str, ...] = ()
    """Events of these actions, each by itself."""
    context: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Key of the context of requests and events, and the values that are looked at: `device: [phone, desktop]`."""

    @model_validator(mode="after")
    def _are_few(self) -> SlicesConfig:
        number = 2 * self.user + len(self.actions) + sum(map(len, self.context.values()))
        if number > _MAX_SLICES:
            raise ValueError(f"{number} slices are declared, at most {_MAX_SLICES} are kept; name fewer values")
        return self


class GateConfig(StrictConfig):
    """When a version is held instead of published, see docs/publishing.md.

    A measure fails where it fell by more than its margin and chance does not tell so: `level`.
    """

    is_enabled: bool = True
    """Whether versions are judged by how well they predict; weights and scores that are not finite are always held.
    False alarms on real streams are counted in docs/publishing.md."""
    window_lists: int = Field(2000, ge=200, le=1_000_000)
    """Judged things (organic and settled lists, labelled events) of the trailing window, and of what it is held
    against: the window before it."""
    min_lists: int = Field(400, ge=50, le=1_000_000)
    """A measure, or a slice of it, with fewer of them in either window is not judged."""
    level: float = Field(1e-6, gt=0, le=0.05)
    """Chance by which one look at all measures and slices together may hold a version that is within its margins. The
    gate looks again whenever a 20th of the window was judged."""
    counters_margin: float = Field(0.03, ge=0, le=10)
    """By how much a measure may lie below what counters give on the same lists. NDCG lies within 0 and 1, log losses
    are in nats."""
    last_good_margin: float = Field(0.03, ge=0, le=10)
    """By how much its lead over the counters may fall from one window to the next ..."""
    value_margin: float = Field(0.2, ge=0, le=1)
    """... and by which share of itself the measure, which also falls where people become harder to predict."""
    weekly_margin: float = Field(0.03, ge=0, le=10)
    """By how much its lead may fall against the baseline that is frozen for a week of stream time."""
    calibration_bound: float = Field(3.0, ge=1.1, le=100)
    """Chances may say this many times more, or less, than what happens."""
    norm_change: float = Field(1.0, gt=0, le=100)
    """Between two versions no weight tensor moves by more than this times its root mean square (1 at least), and no
    table's rows grow by more."""
    aged_after_h: float = Field(24.0, ge=0, le=8760)
    """A user whose oldest remembered event is this old counts as aged: what fresh accounts do makes no item wanted."""
    item_growth: float = Field(0.2, gt=0, le=1)
    """Share of aged users' tops of lists by which an item may grow from one window to the next ..."""
    min_aged_choosers: int = Field(10, ge=1, le=1_000_000)
    """... unless so many of them chose it, or 3 and no fewer than their share of all choices tells (at `level`)."""
    min_aged_listed: int = Field(100, ge=1, le=1_000_000)
    """With fewer aged users among those who were given lists in either window, shares are not judged."""


class TrainerConfig(StrictConfig):
    """How the trainer runs."""

    learner: LearnerConfig = LearnerConfig()
    slices: SlicesConfig = SlicesConfig()
    """Whose metrics are told apart, in `trainer.json`, `trainer.prom` and `headrace evaluate`."""
    gate: GateConfig = GateConfig()
    """What keeps a version from being published."""
    min_batch_samples: int = Field(10, ge=1, le=1000)
    """A micro-batch waits for this many samples that teach (lists, and events that say something) ..."""
    max_batch_samples: int = Field(64, ge=1, le=1000)
    """... and never has more; 200 to 512 learn worse."""
    max_batch_records: int = Field(512, ge=1, le=10_000)
    """Nor ever more records than this, those that only count (views, records of items) among them."""
    batch_wait_ms: int = Field(80, ge=0, le=10_000)
    """A micro-batch is learnt after this long, however small."""
    publish_interval_s: float = Field(0.5, gt=0, le=3600)
    """Least time between two versions; nothing is published when nothing was learnt."""
    snapshot_interval_s: float = Field(600.0, gt=0, le=86_400)
    """Time between full snapshots: what a server that starts must follow deltas for, and a rollback's steps on disk."""
    checkpoint_interval_s: float = Field(10.0, gt=0, le=3600)
    """Time between checkpoints: what a killed trainer learns again."""
    keep_checkpoints: int = Field(3, ge=1, le=100)
    """Checkpoints kept; the newest that verifies is resumed from."""
    purge_reach_h: float = Field(24.0, ge=0, le=168)
    """Hours of broker time that `headrace purge` can go back: about 8 older checkpoints stay for 24 hours, at steps
    that double with their age, and the batch log behind the oldest. 0 keeps none of it."""
    keep_batch_log_h: float = Field(0.0, ge=0, le=8760)
    """Hours that the batch log stays beyond what a restart needs, for audits: it says what every version learnt."""
    keep_snapshots: int = Field(12, ge=2, le=10_000)
    """Newest snapshots kept in the model store, beside pinned ones; deltas are kept behind the oldest of these."""
    num_threads: int = Field(1, ge=1, le=64)
    """Torch threads; more than one makes sums depend on the machine."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes CUDA where there is one."""

    @model_validator(mode="after")
    def _batch_bounds(self) -> TrainerConfig:
        if self.min_batch_samples > self.max_batch_samples:
            raise ValueError(
                f"min_batch_samples {self.min_batch_samples} is above max_batch_samples {self.max_batch_samples}; "
                "lower it"
            )
        return self


_NOT_LEARNT = {"feature_log", "horizon_h", "clock_skew_s", "forget_after_days", "service_version"}
"""Features' settings that no weight depends on."""


def config_hash(app: AppConfig, learner: LearnerConfig, labels: Labels) -> str:
    """Name what the weights depend on beside the samples: 16 hex digits.

    What only decides which events and lists become samples, or what else becomes of them, is left out.
    """
    weights = [[rule.head, rule.value, rule.weight] for rule in labels.rules]
    described = app.model_dump(mode="json", exclude={"surfaces": True, "features": _NOT_LEARNT})
    # Columns of weights and tables stand in the order of declared features, which `sort_keys` does not tell.
    order = [list(app.features.declared)] if app.features.declared else []
    text = json.dumps([described, learner.model_dump(mode="json"), weights, *order], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
