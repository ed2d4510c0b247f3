"""What a server says of itself, put together from its parts."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from serving.admission import Admission
from serving.arms.arm_table import ArmTable
from serving.arms.canary import Canaries
from serving.arms.declared import DeclaredExperiment
from serving.feature_client import UserFeatures
from serving.health import Health
from serving.item_features import ItemFeatures
from serving.kafka_writer import KafkaWriter
from serving.model_store import ModelStore
from serving.rules_file import RulesFile
from serving.stage_times import StageTimes
from serving.status_file import ServingStatus
from serving.store_health import StoreHealth


@dataclass(frozen=True)
class ServerStatus:
    """The parts of a server that have something to tell."""

    models: ModelStore
    users: UserFeatures
    items: ItemFeatures
    writer: KafkaWriter
    times: StageTimes
    admission: Admission
    rules: RulesFile
    health: Health
    experiment_name: str
    experiment: DeclaredExperiment
    arms: ArmTable
    canaries: Canaries
    store_health: StoreHealth

    @property
    def is_full_quality(self) -> bool:
        """Whether nothing is missing for answers at full quality."""
        live = self.models.live
        return live is not None and live.num_items > 0 and self.users.is_available and self.items.is_connected

    def now(self, address: str, admin_address: str) -> ServingStatus:
        """Return the status of this moment."""
        models, live = self.models, self.models.live
        return ServingStatus(
            pid=os.getpid(),
            time_ms=time.time_ns() // 1_000_000,
            address=address,
            admin_address=admin_address,
            is_full_quality=self.health.is_full,
            model_version="" if live is None else live.version,
            newest_broker_time_ms=0 if live is None else live.manifest.newest_broker_time_ms,
            loaded_time_ms=0 if live is None else models.records.status_of(live.version).loaded_time_ms,
            is_following=models.order is None,
            follow_reason="" if models.order is None else models.order.reason,
            swaps=models.records.swaps,
            refused=models.records.refused,
            is_behind=models.is_behind,
            last_refusal=models.records.last_refusal,
            store_error=self.store_health.error,
            cache_error=self.store_health.cache_error,
            tower_index=models.indexes.told(),
            deltas_applied=models.stats.deltas_applied,
            resyncs=models.stats.resyncs,
            delta_apply_ms=models.stats.apply_ms,
            delta_to_serving_s=models.stats.behind_s,
            readers_waited_for=models.stats.readers_waited_for,
            readers_left_behind=models.stats.readers_left_behind,
            requests=self.times.requests,
            degraded=self.times.degraded,
            stages_ms=self.times.percentiles_ms(),
            stages_cpu_us=self.times.cpu_us(),
            served_log_sent=self.writer.sent,
            served_log_dropped=self.writer.dropped,
            refused_requests=dict(self.admission.refused),
            rules=len(self.rules.current.rules),
            rules_refusal=self.rules.refusal,
            experiment=self.experiment_name,
            experiment_reason=self.experiment.reason,
            arms={} if self.arms.running is None else {a.name: a.lists for a in self.arms.running.arms.values()},
            canary=self.canaries.report,
            last_canary=self.canaries.last_end,
            items_known=len(self.items.table),
            feature_offsets=self.items.next_offsets(),
        )
