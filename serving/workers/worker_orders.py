"""Carries orders out on every worker: first on one, which settles what was left open, then on the others."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import grpc

from protos import serving_pb2 as pb
from serving.admin import Order
from serving.errors import (
    CallError,
    CanaryError,
    NoWorkerError,
    RequestError,
    VersionRefusedError,
    VersionUnknownError,
    WorkersDifferError,
)
from serving.workers.worker_process import WorkerProcess
from trainer.model_version import ModelVersion

logger = logging.getLogger(__name__)

_ORDER_S = 60.0
_OPEN_ENDED = ("load", "rollback", "pin")
"""Orders for one version, which the first worker names where the caller did not."""
_STANDING = ("rollback", "pin", "unpin")
"""Orders that hold from then on; who starts later must know the newest of them."""
_ALONG = ("load", "reload", "release")
"""Orders that take one that stands along to the version that they serve."""
_KEPT = 1000
_ERROR_OF: dict[grpc.StatusCode, type[CallError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: RequestError,
    grpc.StatusCode.NOT_FOUND: VersionUnknownError,
    grpc.StatusCode.FAILED_PRECONDITION: VersionRefusedError,
}


class WorkerOrders:
    """Orders to all workers; see `Orders`. A worker that does not serve takes no part: it is told before it serves.

    Args:
        workers: all.
    """

    def __init__(self, workers: Sequence[WorkerProcess]) -> None:
        self._workers = workers
        self._one_at_a_time = asyncio.Lock()
        self._standing: Order | None = None
        self._named: OrderedDict[str, str] = OrderedDict()
        """Key -> version of orders that only some workers carried out: a repetition means that version again."""

    async def carry_out(self, order: Order) -> pb.ModelVersionStatus:
        """See `Orders`.

        Raises:
            NoWorkerError: none serves.
            WorkersDifferError: some did and some did not.
            CanaryError: it is for a canary, which one process must judge.
            CallError: the first worker refused; none did anything.
        """
        if order.name == "canary":
            raise CanaryError(
                f"{len(self._workers)} workers would judge a canary each for itself, and may part;"
                " start the server with one (`serving.workers: 1`) for it"
            )
        async with self._one_at_a_time:
            order = order._replace(version=self._named.get(order.idempotency_key, order.version))
            first, status = await self._on_the_first(order)
            if order.name in _OPEN_ENDED:
                order = order._replace(version=status.version)
            await self._on_the_others(order, first)
            self._named.pop(order.idempotency_key, None)
            if order.name in _STANDING:
                self._standing = order
            elif order.name in _ALONG and self._standing is not None and self._standing.name != "unpin":
                self._standing = self._standing._replace(version=status.version)
            return status

    async def let_serve(self, worker: WorkerProcess) -> None:
        """Tell a worker what stands, then let it take requests.

        Raises:
            grpc.aio.AioRpcError: it does not do so.
        """
        async with self._one_at_a_time:  # No order may come between what it is told and its first request.
            if self._standing is not None:
                await worker.link.carry_out(_for_a_worker(self._standing), _ORDER_S)
            await worker.link.open_port()

    async def status(self) -> pb.GetModelStatusResponse:
        """Return what the worker says that is furthest behind, and which version each serves.

        Raises:
            NoWorkerError: none serves.
        """
        told = await self._ask_all()
        behind = min(told.values(), key=lambda one: _number(one.live.version))
        reply = pb.GetModelStatusResponse()
        reply.CopyFrom(behind)
        reply.served_log_dropped = sum(one.served_log_dropped for one in told.values())
        for worker in self._workers:
            live = told[worker].live.version if worker in told else ""
            reply.workers.add(
                number=worker.number, pid=worker.pid, state=worker.state, live_version=live, restarts=worker.restarts
            )
        return reply

    async def versions(self) -> pb.ListModelsResponse:
        """Return what the first worker says that answers.

        Raises:
            NoWorkerError: none does.
        """
        for worker in self._serving():
            try:
                return await worker.link.versions()
            except grpc.aio.AioRpcError as error:
                logger.warning("%s does not answer: %s", worker, error.details())
        raise NoWorkerError("no worker answers; `headrace status` tells of them")

    async def _on_the_first(self, order: Order) -> tuple[WorkerProcess, pb.ModelVersionStatus]:
        """Carry an order out on the first worker that lives; a refusal there means that nobody did anything."""
        for worker in self._serving():
            outcome = await _given(worker, order)
            if not isinstance(outcome, grpc.aio.AioRpcError):
                return worker, outcome
            if outcome.code() in _ERROR_OF:
                raise _ERROR_OF[outcome.code()](outcome.details() or "")
            logger.warning("%s did not carry out %s: %s", worker, order.name, outcome.details())
            if outcome.code() is not grpc.StatusCode.UNAVAILABLE:
                raise WorkersDifferError(f"{worker} may or may not have done {order.name}: {outcome.details()}")
        raise NoWorkerError("no worker serves just now; `headrace status` tells of them")

    async def _on_the_others(self, order: Order, first: WorkerProcess) -> None:
        """Carry an order out on all but the first; who died meanwhile is told before it serves again."""
        others = [worker for worker in self._serving() if worker is not first]
        outcomes = await asyncio.gather(*(_given(worker, order) for worker in others))
        refused = {
            worker: outcome.details() or outcome.code().name
            for worker, outcome in zip(others, outcomes, strict=True)
            if isinstance(outcome, grpc.aio.AioRpcError) and outcome.code() is not grpc.StatusCode.UNAVAILABLE
        }
        if refused:
            self._named[order.idempotency_key] = order.version
            if len(self._named) > _KEPT:
                self._named.popitem(last=False)
            did = ", ".join(str(worker) for worker in [first, *others] if worker not in refused)
            did_not = "; ".join(f"{worker} did not ({why})" for worker, why in refused.items())
            raise WorkersDifferError(
                f"{order.name} {order.version} is done by {did}; {did_not}; repeat it with the same idempotency key"
            )

    async def _ask_all(self) -> dict[WorkerProcess, pb.GetModelStatusResponse]:
        asked = self._serving()
        replies = await asyncio.gather(*(worker.link.model_status() for worker in asked), return_exceptions=True)
        told = {
            worker: reply
            for worker, reply in zip(asked, replies, strict=True)
            if isinstance(reply, pb.GetModelStatusResponse)
        }
        if not told:
            raise NoWorkerError("no worker answers; `headrace status` tells of them")
        return told

    def _serving(self) -> list[WorkerProcess]:
        return [worker for worker in self._workers if worker.is_serving]


def _for_a_worker(order: Order) -> Order:
    """Return the order under a key of its own: what a repeated key means is settled by the parent."""
    return order._replace(idempotency_key=uuid.uuid4().hex)


async def _given(worker: WorkerProcess, order: Order) -> Any:
    """Give a worker an order; return the status it answers, or the `AioRpcError`."""
    try:
        return await worker.link.carry_out(_for_a_worker(order), _ORDER_S)
    except grpc.aio.AioRpcError as error:
        return error


def _number(version: str) -> ModelVersion:
    """Return a version's number; below all others where there is none."""
    return ModelVersion.parse(version) if version else ModelVersion(-1, -1)
