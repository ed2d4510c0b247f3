"""Laws of orders to several workers: all serve the same, or the answer says which do not."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from protos import serving_pb2 as pb
from serving.admin import Order
from serving.errors import CanaryError, NoWorkerError, VersionUnknownError, WorkersDifferError
from serving.workers.worker_orders import WorkerOrders


def refusal(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    """Return what a worker's refusal arrives as."""
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), f"says {code.name}")


class FakeWorker:
    """A worker whose link answers as told.

    Args:
        live: the version it would answer an open order with.
        fails: what it raises instead.
    """

    def __init__(self, number: int, live: str = "1.2", fails: grpc.StatusCode | None = None) -> None:
        self.number, self.pid, self.restarts, self.state = number, 100 + number, 0, "serving"
        self.is_serving = True
        self.link = self
        self.live = live
        self.fails = fails
        self.orders: list[Order] = []
        self.has_opened = False

    def __str__(self) -> str:
        return f"worker {self.number}"

    async def carry_out(self, order: Order, timeout_s: float) -> pb.ModelVersionStatus:
        """Note an order and answer."""
        self.orders.append(order)
        if self.fails is not None:
            raise refusal(self.fails)
        return pb.ModelVersionStatus(version=order.version or self.live)

    async def open_port(self) -> None:
        """Note it."""
        self.has_opened = True

    async def model_status(self) -> pb.GetModelStatusResponse:
        """Answer."""
        if self.fails is not None:
            raise refusal(self.fails)
        return pb.GetModelStatusResponse(live=pb.ModelVersionStatus(version=self.live), served_log_dropped=2)

    def named(self) -> list[tuple[str, str]]:
        """Return names and versions of the orders that came."""
        return [(order.name, order.version) for order in self.orders]


def orders_to(*workers: Any) -> WorkerOrders:
    """Return the orders over fake workers."""
    return WorkerOrders(workers)


async def test_first_worker_settles_what_the_order_leaves_open() -> None:
    """Workers may be a delta apart: each going back from its own version would leave them at different ones."""
    first, second = FakeWorker(0, "1.2"), FakeWorker(1, "1.3")
    status = await orders_to(first, second).carry_out(Order("rollback", "k"))
    assert status.version == "1.2"
    assert (first.named(), second.named()) == ([("rollback", "")], [("rollback", "1.2")])


async def test_refusal_of_the_first_leaves_the_others_alone() -> None:
    """Its code and sentence are the answer."""
    first, second = FakeWorker(0, fails=grpc.StatusCode.NOT_FOUND), FakeWorker(1)
    with pytest.raises(VersionUnknownError, match="says NOT_FOUND"):
        await orders_to(first, second).carry_out(Order("load", "k", "9.9"))
    assert not second.orders


async def test_answer_says_which_workers_did_not() -> None:
    """And the same order again means the version that was settled, not one step further."""
    first, second = FakeWorker(0), FakeWorker(1, fails=grpc.StatusCode.FAILED_PRECONDITION)
    orders = orders_to(first, second)
    with pytest.raises(WorkersDifferError, match=r"rollback 1\.2 is done by worker 0; worker 1 did not \(says FAILED"):
        await orders.carry_out(Order("rollback", "k"))
    first.live, second.fails = "1.1", None
    assert (await orders.carry_out(Order("rollback", "k"))).version == "1.2"
    assert second.named()[-1] == ("rollback", "1.2")


async def test_order_without_an_answer_is_not_said_to_be_done() -> None:
    """It may or may not be."""
    with pytest.raises(WorkersDifferError, match="may or may not"):
        await orders_to(FakeWorker(0, fails=grpc.StatusCode.DEADLINE_EXCEEDED)).carry_out(Order("reload", "k"))


async def test_dead_workers_hold_up_no_order() -> None:
    """One that died takes no requests either; where none lives, the answer says so."""
    dead, alive = FakeWorker(0, fails=grpc.StatusCode.UNAVAILABLE), FakeWorker(1)
    assert (await orders_to(dead, alive).carry_out(Order("pin", "k"))).version == "1.2"
    with pytest.raises(NoWorkerError):
        await orders_to(dead).carry_out(Order("pin", "k"))


async def test_worker_that_comes_back_hears_the_standing_order_before_it_serves() -> None:
    """It may have read what stands on disk before the order came."""
    first, second = FakeWorker(0), FakeWorker(1)
    second.is_serving = False
    orders = orders_to(first, second)
    await orders.carry_out(Order("pin", "a"))
    await orders.carry_out(Order("reload", "b"))
    await orders.let_serve(second)  # type: ignore[arg-type]  # A fake.
    assert (second.named(), second.has_opened) == ([("pin", "1.2")], True)


async def test_worker_that_refuses_the_standing_order_does_not_serve() -> None:
    """Rather one worker less than one that serves another version."""
    first, second = FakeWorker(0), FakeWorker(1)
    orders = orders_to(first, second)
    await orders.carry_out(Order("pin", "a"))
    second.fails = grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.aio.AioRpcError):
        await orders.let_serve(second)  # type: ignore[arg-type]
    assert not second.has_opened


async def test_status_is_that_of_the_worker_furthest_behind() -> None:
    """With the version of each; dropped served lists are added up."""
    workers = FakeWorker(0, "2.1"), FakeWorker(1, "1.10"), FakeWorker(2, fails=grpc.StatusCode.UNAVAILABLE)
    status = await orders_to(*workers).status()
    assert (status.live.version, status.served_log_dropped) == ("1.10", 4)
    assert [worker.live_version for worker in status.workers] == ["2.1", "1.10", ""]


async def test_canary_is_refused_before_any_worker_is_told() -> None:
    """Each would judge for itself."""
    workers = [FakeWorker(0), FakeWorker(1)]
    with pytest.raises(CanaryError, match="2 workers would judge"):
        await orders_to(*workers).carry_out(Order("canary", "k", "1.3", canary_share=0.1))
    assert [worker.orders for worker in workers] == [[], []]
