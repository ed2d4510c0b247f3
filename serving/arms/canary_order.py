"""What a canary means for the version that serves: it stays as it is meanwhile, and then goes, stays, or goes on."""

from __future__ import annotations

from serving.arms.fixed_version import FixedVersion
from serving.errors import CanaryError
from serving.model_store import ModelStore
from serving.standing_order import StandingOrder
from serving.version_records import VersionState, VersionStatus
from trainer.version_files import ModelVersion


class CanaryOrder:
    """Holds the store at its live version for a canary, and lets it go.

    Args:
        store: of versions.
    """

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._before: StandingOrder | None = None
        """What held before the canary."""

    async def begin(self, version: str) -> FixedVersion:
        """Build a version to serve beside the live one, which stays as it is meanwhile.

        A restart finds a rollback to the live version: what ends a server must not become what it serves.

        Raises:
            NoModelError: nothing is live.
            CanaryError: it is the live version.
            VersionUnknownError: it is not kept.
            VersionRefusedError: it failed a check.
        """
        store = self._store
        live, before = store.need_live().version, store.order
        if version == live:
            raise CanaryError(f"{version} is the live version; name another one, see `headrace models`")
        order = StandingOrder("canary", live, canary=version)
        store.stand(order)
        try:
            fixed = await store.beside.build(version)
            if store.order is not order or store.need_live().version != live:
                raise CanaryError(f"another order came while {version} was built, so that it does not begin")
        except BaseException:
            if store.order is order:
                store.stand_again(before)
            raise
        self._before = before
        return fixed

    async def promote(self, fixed: FixedVersion, reason: str) -> VersionStatus:
        """Let the canary go live; the server follows behind it, or stays there where it was held before."""
        store = self._store
        version = fixed.model.version
        status = await store.install(fixed, reason)
        if self._before is None:
            store.stand_again(None)
        else:
            await store.pin(version)
        store.beside.let_go(version)
        return status

    async def roll_back(self, fixed: FixedVersion, reason: str) -> VersionStatus:
        """Go on without the canary; where it is newer than the live version, that is a rollback until `unpin`."""
        store = self._store
        live = store.need_live().version
        is_newer = ModelVersion.parse(fixed.model.version) > ModelVersion.parse(live)
        if is_newer and self._before is None:
            self._before = StandingOrder("rollback", live, why=reason)
        return await self.drop(fixed, reason)

    async def drop(self, fixed: FixedVersion, reason: str) -> VersionStatus:
        """Go on without the canary as before it; it is not picked up by itself."""
        store = self._store
        version, live = fixed.model.version, store.need_live().version
        store.records.note(version, VersionState.REJECTED, reason)
        if ModelVersion.parse(version) > ModelVersion.parse(live):
            store.avoided.add(ModelVersion.parse(live), ModelVersion.parse(version))
        store.stand_again(self._before)
        store.beside.let_go(version)
        return store.records.status_of(live)
