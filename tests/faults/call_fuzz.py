"""A whole server, its edge and its guard included, whose Kafka and Redis are fakes; and mutated calls to all methods.

What a caller may hear: an answer that is sound, or a code of the table with a sentence that tells nothing of the
machine. Meanwhile an app asks over a connection of its own, and must always be answered.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import grpc
import psutil
from google.protobuf.message import Message

from features.config import Endpoints
from features.quality.hold_table import CONTROL_TOPIC
from features.security.role import Role
from protos import serving_pb2 as pb
from serving.announcements import MODELS_TOPIC
from serving.arms.feedback import SAMPLES_TOPIC
from serving.config import ServingConfig
from serving.connections import Connections
from serving.item_features import ITEMS_TOPIC, ROW_TOPICS
from serving.security.operator_tokens import read_operator_token
from serving.server import Server
from serving.server_settings import ServerSettings
from serving.user_rows import RedisUserRows
from tests.fakes import FakeBroker, FakeFuture
from tests.faults.mutations import mutated_message
from tests.running_stack import ROOT
from tests.serving.serving_parts import APP, ITEM_IDS, World
from trainer.delta_chunks import TOPIC

_RECOMMENDER, _ADMIN = "/headrace.serving.v1.Recommender/", "/headrace.serving.v1.ModelAdmin/"
VERSIONS = ("1.1", "1.2")
VALID: dict[str, tuple[Message, type[Any]]] = {
    _RECOMMENDER + "Recommend": (
        pb.RecommendRequest(
            user_id="ann",
            num_items=10,
            surface="default",
            context={"page": "home"},
            priority=pb.PRIORITY_INTERACTIVE,
            candidate_item_ids=ITEM_IDS[:20],
            exclude_item_ids=ITEM_IDS[3:5],
            category_filter=["drinks"],
            include_heads=True,
        ),
        pb.RecommendResponse,
    ),
    _RECOMMENDER + "Rank": (
        pb.RankRequest(user_id="ann", item_ids=ITEM_IDS[:20], surface="default", context={"page": "home"}),
        pb.RankResponse,
    ),
    _RECOMMENDER + "SimilarItems": (pb.SimilarItemsRequest(item_id=ITEM_IDS[0], num_items=5), pb.SimilarItemsResponse),
    _ADMIN + "LoadModel": (pb.LoadModelRequest(idempotency_key="l", version="1.1"), pb.LoadModelResponse),
    _ADMIN + "ReloadModel": (pb.ReloadModelRequest(idempotency_key="r"), pb.ReloadModelResponse),
    _ADMIN + "RollbackModel": (pb.RollbackModelRequest(idempotency_key="b", version="1.1"), pb.RollbackModelResponse),
    _ADMIN + "PinModel": (pb.PinModelRequest(idempotency_key="p", version="1.2"), pb.PinModelResponse),
    _ADMIN + "UnpinModel": (pb.UnpinModelRequest(idempotency_key="u"), pb.UnpinModelResponse),
    _ADMIN + "ReleaseModel": (pb.ReleaseModelRequest(idempotency_key="e"), pb.ReleaseModelResponse),
    _ADMIN + "RejectModel": (pb.RejectModelRequest(idempotency_key="j", reason="worse"), pb.RejectModelResponse),
    _ADMIN + "GetModelStatus": (pb.GetModelStatusRequest(), pb.GetModelStatusResponse),
    _ADMIN + "ListModels": (pb.ListModelsRequest(), pb.ListModelsResponse),
}
"""A call that is answered, of every method, and what it is answered with."""
_NO_METHODS = (_RECOMMENDER, _RECOMMENDER + "Nothing", _ADMIN + "../Recommender/Recommend", "/x/y")
_STRANGE_METADATA = (
    ("authorization", "Bearer x"),
    ("authorization", "bearer"),
    ("authorization", "Basic YTpi"),
    ("authorization", "Bearer " + "x" * 10_000),
    ("x-request-id", "a" * 3000),
    ("x-request-id", "' OR 1=1 --"),
    ("traceparent", "00-" + "f" * 32 + "-0-zz"),
    ("grpc-accept-encoding", "nothing"),
)
_ADMIN_SHARE, _NO_METHOD_SHARE, _METADATA_SHARE = 0.1, 0.02, 0.05
_AT_ONCE = 8
_LONGEST_TEXT = 500
_PATIENCE_S = 30.0
_ASK_EVERY_S = 0.2
MAY_BE_HEARD = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
_STACK = re.compile(r"Traceback|File \"|\.py\b|\bline \d+", re.IGNORECASE)


@dataclass(frozen=True)
class MutatedCall:
    """One call to be sent."""

    method: str
    raw: bytes
    metadata: tuple[tuple[str, str], ...]
    timeout_s: float


@dataclass
class CallVerdict:
    """What the calls came to."""

    codes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    healthy: int = 0
    """Calls of the app in between, all answered."""
    rss_mb: list[float] = field(default_factory=list)
    """Of the process, client included: behind a tenth of the calls, and at the end."""


def calls_of(seed: int, count: int, admin_token: str) -> Iterator[MutatedCall]:
    """Yield the calls of a seed."""
    draw = random.Random(seed)
    for _ in range(count):
        yield _call_of(draw, admin_token)


def _call_of(draw: random.Random, admin_token: str) -> MutatedCall:
    is_admin = draw.random() < _ADMIN_SHARE
    method = draw.choice([name for name in VALID if name.startswith(_ADMIN) == is_admin])
    raw = mutated_message(VALID[method][0], draw)
    metadata = (("authorization", f"Bearer {admin_token}"),) if is_admin else ()
    if draw.random() < _METADATA_SHARE:
        metadata = (draw.choice(_STRANGE_METADATA),)
    if draw.random() < _NO_METHOD_SHARE:
        method = draw.choice(_NO_METHODS)
    return MutatedCall(method, raw, metadata, draw.choice((0.001, 0.05)) if draw.random() < 0.02 else _PATIENCE_S)


class _Rows(RedisUserRows):
    """User rows in memory: ann has a history, others have nothing."""

    @property
    def is_open(self) -> bool:
        return True

    async def keep_open(self, retry_s: float = 0.25) -> None:
        await asyncio.Event().wait()

    async def read(self, user_id: str) -> tuple[Mapping[str, Any], Set[str]]:
        row = {"user_history_item_ids": [ITEM_IDS[7]], "user_history_outcomes": [1], "user_history_times_ms": [1]}
        return (row, frozenset({ITEM_IDS[7]})) if user_id == "ann" else ({}, frozenset())


class _Nowhere:
    """A producer that keeps nothing: memory is measured."""

    def send(self, topic: str, value: bytes | None = None, key: bytes | None = None) -> FakeFuture:
        return FakeFuture()

    def close(self, timeout: float | None = None) -> None:
        return None


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Server]:
    """Run a server of two versions on free ports, with ModelAdmin."""
    world = World(folder)
    for version in VERSIONS:
        world.write(version)
    endpoints = Endpoints(
        kafka="127.0.0.1:1", redis="127.0.0.1:1", model_store=str(folder / "models"), state=str(folder)
    )
    patient = ServingConfig(catch_up_s=5.0, feature_read_ms=30_000)
    settings = ServerSettings(APP, patient, endpoints, "127.0.0.1:0", "127.0.0.1:0")
    broker = FakeBroker([MODELS_TOPIC, TOPIC, SAMPLES_TOPIC, CONTROL_TOPIC, ITEMS_TOPIC, *ROW_TOPICS])
    server = Server(settings, Connections(_Rows(endpoints, APP), broker.connect, _Nowhere))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def fuzz_calls(folder: Path, seed: int, count: int) -> CallVerdict:
    """Send the calls of a seed to a server of their own, a few at a time, and judge every answer."""
    verdict, own = CallVerdict(), psutil.Process()
    async with served(folder) as server:
        token = read_operator_token(folder, Role.ADMIN)
        calls = calls_of(seed, count, token)
        async with _channels(server) as app, _channels(server) as stranger:
            asking = asyncio.create_task(_ask_on(app, token, verdict))
            for left in (islice(calls, count // 10), calls):
                await asyncio.gather(*(_send_all(stranger, left, folder, verdict) for _ in range(_AT_ONCE)))
                verdict.rss_mb.append(own.memory_info().rss / 2**20)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await _ask(app, token, verdict)
    return verdict


Channels = Mapping[str, Any]


@asynccontextmanager
async def _channels(server: Server) -> AsyncIterator[Channels]:
    own = [("grpc.use_local_subchannel_pool", 1)]  # Else all channels of a process share one connection.
    async with (
        grpc.aio.insecure_channel(server.address, own) as recommender,
        grpc.aio.insecure_channel(server.admin_address, own) as admin,
    ):
        yield {_RECOMMENDER: recommender, _ADMIN: admin}


async def _send_all(channels: Channels, left: Iterator[MutatedCall], folder: Path, verdict: CallVerdict) -> None:
    for call in left:
        code, problem = await _send(channels, call, folder)
        verdict.codes[code.name] += 1
        if problem:
            verdict.problems.append(f"{call.method} {call.raw[:200]!r} {call.metadata}: {code.name}, {problem}")


async def _send(channels: Channels, call: MutatedCall, folder: Path) -> tuple[Any, str]:
    """Send one call; return its code, and what is wrong with the answer."""
    channel = channels[_ADMIN if call.method.startswith(_ADMIN) else _RECOMMENDER]
    try:
        raw = await channel.unary_unary(call.method)(call.raw, timeout=call.timeout_s, metadata=call.metadata)
    except grpc.aio.AioRpcError as error:
        return error.code(), _problem_of_refusal(error.code(), error.details() or "", folder)
    return grpc.StatusCode.OK, _problem_of_answer(call, raw)


def _problem_of_refusal(code: grpc.StatusCode, text: str, folder: Path) -> str:
    """Say what is wrong with a refusal; nothing where it is one that callers may hear."""
    if code not in MAY_BE_HEARD:
        return f"a code that no caller should hear: {text}"
    if len(text) > _LONGEST_TEXT or "\n" in text or _STACK.search(text) or str(folder) in text or str(ROOT) in text:
        return f"a text that tells too much: {text}"
    return ""


def _problem_of_answer(call: MutatedCall, raw: bytes) -> str:
    """Say what is wrong with an answer; nothing where its list is sound."""
    request_type, answer = type(VALID[call.method][0]), VALID[call.method][1].FromString(raw)
    if call.method.startswith(_ADMIN):
        return ""
    request: Any = request_type.FromString(call.raw)
    ids = [item.item_id for item in answer.items]
    numbers = [number for item in answer.items for number in (item.score, item.propensity, *item.heads.values())]
    most = len(request.item_ids) if call.method.endswith("/Rank") else request.num_items or 10
    excluded = set(request.exclude_item_ids) if call.method.endswith("/Recommend") else set()
    faults = {
        "a number that is none": not all(map(math.isfinite, numbers)),
        "a propensity beyond 0 to 1": not all(0.0 < item.propensity <= 1.0 for item in answer.items),
        "an item twice": len(set(ids)) < len(ids),
        f"{len(ids)} items of at most {most}": len(ids) > most,
        "an item that was excluded": bool(excluded & set(ids)),
    }
    return ", ".join(fault for fault, is_so in faults.items() if is_so)


async def _ask_on(channels: Channels, token: str, verdict: CallVerdict) -> None:
    while True:
        await _ask(channels, token, verdict)
        await asyncio.sleep(_ASK_EVERY_S)


async def _ask(channels: Channels, token: str, verdict: CallVerdict) -> None:
    """Ask as an app and as an operator do: both must be answered, the app in full."""
    request = pb.RecommendRequest(user_id="ann").SerializeToString()
    bearer = (("authorization", f"Bearer {token}"),)
    try:
        raw = await channels[_RECOMMENDER].unary_unary(_RECOMMENDER + "Recommend")(request, timeout=_PATIENCE_S)
        await channels[_ADMIN].unary_unary(_ADMIN + "GetModelStatus")(b"", timeout=_PATIENCE_S, metadata=bearer)
    except grpc.aio.AioRpcError as error:
        verdict.problems.append(f"an app or an operator is refused: {error.code().name}, {error.details()}")
        return
    answer = pb.RecommendResponse.FromString(raw)
    verdict.healthy += 1
    if len(answer.items) != 10 or answer.model_version not in VERSIONS or answer.degraded_reasons:
        verdict.problems.append(f"an app's call is answered by {answer}")
