"""Try it: a user's list with what carried each item, an event, and the list again."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import Any

import msgspec
import numpy as np

from compose.dashboard.explain import explain
from compose.dashboard.insights import Insights
from compose.dashboard.topic_tail import TopicTail
from compose.dashboard.version_line import VersionLine
from compose.errors import StackError
from compose.serving_access import ServingAccess
from compose.serving_client import recommend
from features.config import AppConfig, Endpoints
from features.kafka_connection import kafka_settings
from features.security.role import Role
from headrace_client import Event, EventProducer, HeadraceClientError
from protos import serving_pb2 as pb
from trainer.errors import VersionError

_LOOKED_FOR_S = 3.0
_KEPT = 2000
_TOP_GROUPS = 4


class _ServedItem(msgspec.Struct):
    item_id: str
    score: float = 0.0
    row: list[float] = []
    explored: bool = False


class _Served(msgspec.Struct):
    items: list[_ServedItem]


class Trial:
    """Asks for lists, explains them and sends events.

    Args:
        app: actions and surfaces.
        endpoints: of the server and Kafka.
        insights: knows titles.
        versions: keeps the weights of the newest versions.
    """

    def __init__(self, app: AppConfig, endpoints: Endpoints, insights: Insights, versions: VersionLine) -> None:
        self._app = app
        self._endpoints = endpoints
        self._insights = insights
        self._versions = versions
        self._wanted: OrderedDict[str, bytes | None] = OrderedDict()
        self._producer: EventProducer | None = None
        self._connecting = threading.Lock()
        self._early: OrderedDict[str, bytes] = OrderedDict()
        """Records that came while an answer was still on its way: one of them is its own."""
        self._asking = 0

    @property
    def surface(self) -> str:
        """The surface that lists are asked for: one that leaves no trace, where one is declared."""
        silent = [name for name, surface in self._app.surfaces.items() if not surface.learn]
        return "probe" if "probe" in silent else (silent or ["default"])[0]

    @property
    def actions(self) -> list[str]:
        """Actions that need no value, those that count as a success first."""
        plain = {name: one for name, one in self._app.actions.items() if not (one.positive_when or one.negative_when)}
        return sorted(plain, key=lambda name: (name != "like", plain[name].outcome != "positive"))

    def on_served(self, key: bytes | None, value: bytes | None) -> None:
        """Take a record of the served topic: one that is looked for, or that may be in a moment."""
        name = (key or b"").decode(errors="replace")
        if name in self._wanted:
            self._wanted[name] = value
        elif value is not None and self._asking:
            self._early[name] = value
            while len(self._early) > _KEPT:
                self._early.popitem(last=False)

    async def ask(self, user_id: str, num_items: int, tail: TopicTail, is_explained: bool) -> dict[str, Any]:
        """Return a user's list, explained where that is wanted and possible.

        Raises:
            StackError: the server does not answer, or refuses.
        """
        access = ServingAccess.of(self._endpoints, Role.RECOMMEND)
        address = self._endpoints.serving
        self._asking += is_explained
        try:
            answer = await asyncio.to_thread(recommend, address, access, user_id, num_items, self.surface, True)
            told: dict[str, Any] = self._answer_json(answer)
            return told | (await self._explained(answer, tail) if is_explained else {})
        finally:
            self._asking -= is_explained
            if not self._asking:
                with tail.lock:
                    self._early.clear()

    async def send(self, user_id: str, item_id: str, action: str) -> dict[str, Any]:
        """Send an event as an app would; return once Kafka has it.

        Raises:
            StackError: it cannot be sent.
        """
        if action not in self._app.actions:
            raise StackError(f"action {action!r:.60} is not declared in headrace.yaml; send one of {self.actions}")
        event = Event(user_id=user_id, item_id=item_id, action=action, context={"sent_by": "dashboard"})
        try:
            return await asyncio.to_thread(self._send, event)
        except HeadraceClientError as error:
            raise StackError(f"the event was not sent: {error}") from error
        except TimeoutError as error:
            raise StackError("Kafka has not acknowledged the event within 10 s; it may still count") from error

    def close(self) -> None:
        """Close the producer."""
        if self._producer is not None:
            self._producer.close(timeout_s=2.0)

    def _send(self, event: Event) -> dict[str, Any]:
        with self._connecting:
            if self._producer is None:
                self._producer = EventProducer(
                    self._endpoints.kafka, linger_ms=0, security=kafka_settings(self._endpoints.kafka_servers)
                )
        acknowledged: Future[Any] = self._producer.send(event)
        acknowledged.result(timeout=10.0)
        return {"sent": True}

    def _answer_json(self, answer: pb.RecommendResponse) -> dict[str, Any]:
        items = [
            {
                "item_id": item.item_id,
                "title": self._insights.title_of(item.item_id),
                "categories": self._insights.categories_of(item.item_id)[:3],
                "score": round(item.score, 4),
                "source": item.source,
                "propensity": round(item.propensity, 4),
                "heads": {name: round(chance, 4) for name, chance in sorted(item.heads.items())},
            }
            for item in answer.items
        ]
        return {
            "request_id": answer.request_id,
            "model_version": answer.model_version,
            "model_age_s": round(answer.model_age_s, 1),
            "arm": answer.arm,
            "degraded_reasons": list(answer.degraded_reasons),
            "served_time_ms": answer.served_time_ms,
            "surface": self.surface,
            "items": items,
        }

    async def _explained(self, answer: pb.RecommendResponse, tail: TopicTail) -> dict[str, Any]:
        value = await self._served_record(answer.request_id, tail)
        if value is None:
            return {"why_not_explained": "the served record has not come through Kafka in time; ask again"}
        with tail.lock:
            payload = self._versions.dense_payload(answer.model_version)
        if payload is None:
            return {"why_not_explained": "the weights of this version came before the dashboard began to listen"}
        return await asyncio.to_thread(self._explain, value, payload)

    def _explain(self, value: bytes, payload: bytes) -> dict[str, Any]:
        try:
            served = msgspec.json.decode(value, type=_Served)
            rows = np.array([item.row for item in served.items], dtype=np.float32)
            found = explain(payload, rows, [item.score for item in served.items], self._app.features)
        except (msgspec.DecodeError, UnicodeDecodeError, VersionError, ValueError) as error:
            return {"why_not_explained": f"the inputs of this list cannot be read ({str(error)[:120]})"}
        if found is None:
            return {"why_not_explained": "the list was ranked without a model, or by another feature schema"}
        reasons: dict[str, list[dict[str, Any]]] = {}
        for item, parts in zip(served.items, found.contributions, strict=True):
            strongest = np.argsort(-np.abs(parts))[:_TOP_GROUPS]
            reasons[item.item_id] = [
                {"group": found.groups[place], "change": round(float(parts[place]), 3)} for place in strongest
            ]
        return {"reasons": reasons, "is_exact": found.is_exact}

    async def _served_record(self, request_id: str, tail: TopicTail) -> bytes | None:
        """Wait until the list's own record came, as long as somebody who waits for a page would."""
        with tail.lock:
            self._wanted[request_id] = self._early.pop(request_id, None)
        try:
            async with asyncio.timeout(_LOOKED_FOR_S):
                while True:
                    with tail.lock:
                        value = self._wanted[request_id]
                    if value is not None:
                        return value
                    await asyncio.sleep(0.05)
        except TimeoutError:
            return None
        finally:
            with tail.lock:
                self._wanted.pop(request_id, None)
