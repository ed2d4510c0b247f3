"""What tests of racing orders share: places where the worker thread is held, and an eye on what serves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from serving.delta_reader import Received, deltas_from
from serving.model_builder import ModelBuilder
from serving.version_records import VersionStatus
from tests.serving.serving_parts import World

Value = TypeVar("Value")
_PATIENCE_S = 30.0


class Held:
    """A place in the worker thread: who comes there waits until it is let go."""

    def __init__(self) -> None:
        self.times = 0
        """How often somebody came."""
        self.thread: threading.Thread | None = None
        self._is_here = threading.Event()
        self._may_go_on = threading.Event()

    def wait(self) -> None:
        """Come there."""
        self.times += 1
        self.thread = threading.current_thread()
        self._is_here.set()
        assert self._may_go_on.wait(_PATIENCE_S)

    async def reached(self) -> None:
        """Wait until somebody is there."""
        assert await asyncio.to_thread(self._is_here.wait, _PATIENCE_S)

    def let_go(self) -> None:
        """Let everybody through, from now on."""
        self._may_go_on.set()


def held_method(monkeypatch: pytest.MonkeyPatch, name: str) -> Held:
    """Hold `ModelBuilder.snapshot` or `prove` before it begins."""
    held, call = Held(), getattr(ModelBuilder, name)

    def wait_and_call(*arguments: Any) -> Any:
        held.wait()
        return call(*arguments)

    monkeypatch.setattr(ModelBuilder, name, wait_and_call)
    return held


def held_pass(monkeypatch: pytest.MonkeyPatch) -> Held:
    """Hold every rebuild before each delta that it is given."""
    held = Held()

    def wait_and_yield(*arguments: Any) -> Iterator[Received]:
        for received in deltas_from(*arguments):
            held.wait()
            yield received

    monkeypatch.setattr("serving.model_builder.deltas_from", wait_and_yield)
    return held


async def given(call: Coroutine[Any, Any, Value]) -> asyncio.Task[Value]:
    """Begin a call and let it come as far as it does without waiting: an order, to where it waits for its turn."""
    task = asyncio.create_task(call)
    await asyncio.sleep(0)
    return task


async def answered(world: World, order: Coroutine[Any, Any, VersionStatus]) -> tuple[str, str]:
    """Return the version that an order's answer names, and what serves at that moment."""
    status = await order
    return status.version, "" if world.models.live is None else world.models.live.version


def watched(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which every version is added that goes live."""
    seen: list[str] = []
    records = world.models.records
    note_live: Callable[..., VersionStatus] = records.note_live

    def note(*arguments: Any, **others: Any) -> VersionStatus:
        status = note_live(*arguments, **others)
        seen.append(status.version)
        return status

    monkeypatch.setattr(records, "note_live", note)
    return seen
