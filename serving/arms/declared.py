"""The experiment that `headrace.yaml` declares: it runs while every arm can serve what it says, else not at all.

While a version of an arm is not there, its users would get another one: counted as the arm's own that would dilute it,
and left out it would compare different times of the day. So all users are answered alike then, and belong to no arm.
"""

from __future__ import annotations

import asyncio
import logging

from serving.arms.arm import Arm, LiveModel
from serving.arms.arm_table import ArmTable
from serving.arms.fixed_version import FixedVersion
from serving.config import ServingConfig
from serving.errors import OrderError
from serving.model_store import ModelStore

logger = logging.getLogger(__name__)

_RETRY_S = (1.0, 60.0)
"""Between tries to build an arm's version: Kafka may not be there yet, or the trainer may not have written it."""


class DeclaredExperiment:
    """Brings the arms of `serving.arms` up.

    Args:
        config: of the server.
        models: builds versions.
        table: where the experiment runs.
    """

    def __init__(self, config: ServingConfig, models: ModelStore, table: ArmTable) -> None:
        self._config = config
        self._models = models
        self._table = table
        self._fixed: dict[str, FixedVersion] = {}
        """Version -> model; arms that name the same one share it."""
        self._reason = ""
        self._task: asyncio.Task[None] | None = None

    @property
    def reason(self) -> str:
        """Why it does not run; empty where it does, or none is declared."""
        return self._reason

    async def start(self) -> None:
        """Run it at once where that is possible, else as soon as it is."""
        config = self._config
        self._models.beside.keep_only({arm.version for arm in config.arms.values() if arm.version})
        if not config.arms:
            return
        if not await self._try():
            self._task = asyncio.create_task(self._keep_trying(), name="bring arms up")

    async def stop(self) -> None:
        """Try no longer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_trying(self) -> None:
        pause_s = _RETRY_S[0]
        while True:
            await asyncio.sleep(pause_s)
            if await self._try():
                return
            pause_s = min(2.0 * pause_s, _RETRY_S[1])

    async def _try(self) -> bool:
        """Build what is missing; run the experiment and say so where nothing is."""
        config = self._config
        for name, arm in config.arms.items():
            if not arm.version or arm.version in self._fixed:
                continue
            try:
                self._fixed[arm.version] = await self._models.beside.build(arm.version)
            except OrderError as error:
                self._reason = f"arm {name} has not its version {arm.version}: {error}"
                logger.warning("experiment %s does not run: %s", config.experiment, self._reason)
                return False
        self._reason = ""
        shares = {name: arm.share for name, arm in config.arms.items()}
        self._table.run(config.experiment, {name: self._arm(name) for name in config.arms}, shares)
        logger.info("experiment %s runs: %s", config.experiment, ", ".join(f"{n} {s:g}" for n, s in shares.items()))
        return True

    def _arm(self, name: str) -> Arm:
        config, arm = self._config, self._config.arms[name]
        models: LiveModel = self._fixed[arm.version] if arm.version else self._models
        diversity, exploration = arm.diversity or config.diversity, arm.exploration or config.exploration
        return Arm(models, diversity, exploration, config.experiment, name)
