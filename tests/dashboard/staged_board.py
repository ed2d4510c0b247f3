"""A board with a believable past, without any server behind it, and the page that shows it on a free port."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import random
import threading
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from compose.dashboard.access import Access
from compose.dashboard.arms_report import ArmsReport
from compose.dashboard.board import Board
from compose.dashboard.web import Web
from features.config import Endpoints, load_app_config
from features.security.token_file import Tokens
from protos import serving_pb2 as pb
from serving.config import ServingConfig
from serving.security.operator_tokens import make_operator_tokens, operator_files
from tests.running_stack import ROOT

NOW_MS = 1_790_000_000_000
HOSTILE = "<img src=x onerror=document.title='owned'>"
"""An id, and a message, that must stay text."""
ITEMS = ("Green tea", "Teapot, cast iron", "Matcha whisk", "Earl Grey", "Honey", "Oolong", "Cup, hand-made", "Jasmine")


class StagedRows:
    """An online store of one known user."""

    def __init__(self) -> None:
        self.is_open = True
        self.history = ["item-1", "item-2"]

    async def read(self, user_id: str) -> tuple[Mapping[str, Any], Set[str]]:
        """Return the history of everybody but strangers."""
        if user_id.startswith("stranger"):
            return {}, frozenset()
        times_ms = [NOW_MS - 60_000 * (place + 1) for place in range(len(self.history))]
        row = {
            "user_history_item_ids": list(self.history),
            "user_history_times_ms": times_ms,
            "user_history_outcomes": [1] * len(self.history),
        }
        return row, frozenset(self.history)


def staged_board(state_dir: Path, rows: StagedRows | None = None) -> Board:
    """Return a board that has seen half an hour of a small shop."""
    endpoints = Endpoints(
        kafka="127.0.0.1:1",
        redis="127.0.0.1:1",
        serving="127.0.0.1:1",
        admin="127.0.0.1:1",
        model_store="",
        state=str(state_dir),
    )
    board = Board(load_app_config(ROOT / "headrace.yaml"), endpoints, rows or StagedRows(), lambda: NOW_MS)
    write_status_files(state_dir)
    board.files.read()
    _tell_items_and_events(board)
    _tell_versions(board)
    _tell_history(board)
    for place, raw in enumerate((HOSTILE.encode(), b'{"user_id": "ada", "action": "lke"}', b"\xff\x00\x1b[31m")):
        board.letters.on_record(letter_json(raw, ("not_json", "unknown_action", "not_json")[place], place))
    board.warmth = {"cold": 6, "warm": 14, "regular": 10}
    return board


def letter_json(raw: bytes, reason: str, offset: int) -> bytes:
    """Return a record of the dead-letter topic."""
    told = {"raw": base64.b64encode(raw).decode(), "topic": "headrace.events.v1", "partition": 0, "offset": offset}
    return json.dumps({**told, "reason": reason, "record_time_ms": NOW_MS - 5000 * offset}).encode()


def write_status_files(state_dir: Path, **serving: Any) -> None:
    """Write what the parts would."""
    stages = {"hydrate": 1.1, "candidates": 1.9, "rank": 0.4, "diversify": 0.3, "answer": 0.2, "total": 4.4}
    told: dict[str, dict[str, Any]] = {
        "serving": {
            "time_ms": NOW_MS,
            "model_version": "3.412",
            "loaded_time_ms": NOW_MS - 700,
            "is_following": True,
            "follow_reason": "",
            "swaps": 411,
            "requests": 18_240,
            "is_full_quality": True,
            "degraded": {"no_time_for_user": 14, "fewer_candidates": 3},
            "stages_ms": {name: {"p50": p50, "p99": 4 * p50} for name, p50 in stages.items()},
            "stages_cpu_us": {name: 900 * p50 for name, p50 in stages.items()},
            "served_log_sent": 18_200,
            "served_log_dropped": 0,
            "delta_to_serving_s": {"p50": 0.05, "p99": 0.16},
            "refused": {},
            "arms": {},
        }
        | serving,
        "trainer": _trainer_status(),
        "ingester": {"time_ms": NOW_MS, "lag": {"a:0": 2}, "event_to_feature_ms": {"p50": 68.0, "p99": 330.0}},
        "quality": {
            "time_ms": NOW_MS,
            "held_windows": 0,
            "dead_letters_of_a_day": {"unknown_action": 1, "not_json": 2},
        },
    }
    for name, content in told.items():
        (state_dir / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def _trainer_status() -> dict[str, Any]:
    series = {
        "organic_ndcg": {"size": 2000, "value": 0.262, "baseline": 0.231, "lead_error": 0.004},
        "organic_ndcg[user=new]": {"size": 310, "value": 0.201, "baseline": 0.196, "lead_error": 0.009},
        "organic_ndcg[user=known]": {"size": 1690, "value": 0.273, "baseline": 0.237, "lead_error": 0.005},
        "settled_ndcg": {"size": 420, "value": 0.611, "baseline": 0.574, "lead_error": 0.011},
    }
    metrics = {"hr@10": 0.191, "hr@10_overall": 0.176, "hr@10[user=new]": 0.142, "settled_auc": 0.71}
    return {
        "time_ms": NOW_MS,
        "samples_per_s": 96.0,
        "lag_samples": 11,
        "items": len(ITEMS),
        "users": 301,
        "progress": {"samples": 15_120, "step": 860, "non_finite_steps": 0, "clipped_steps": 0},
        "metrics": metrics,
        "judged": {"series": series, "open": 40, "block_size": 100},
        "gate": {"state": "PASSED", "version": "", "reason": "", "is_enabled": True},
    }


def _tell_items_and_events(board: Board) -> None:
    dice = random.Random(7)
    for place, title in enumerate(ITEMS):
        item = {"item_id": f"item-{place}", "title": title, "categories": [("tea", "kitchen")[place % 2]]}
        board.insights.on_item(None, json.dumps(item).encode())
    for second in range(0, 1800, 2):
        for _ in range(dice.randint(0, 4)):
            place = min(int(dice.expovariate(0.5)), len(ITEMS) - 1)
            action = dice.choices(("view", "click", "like", "purchase"), (8, 4, 2, 1))[0]
            event = {"user_id": f"user-{dice.randint(1, 40)}", "item_id": f"item-{place}", "action": action}
            board.insights.on_event(NOW_MS - 1000 * (1800 - second), json.dumps(event).encode())
    event = {"user_id": HOSTILE, "item_id": HOSTILE, "action": "view"}
    board.insights.on_event(NOW_MS, json.dumps(event).encode())


def _tell_versions(board: Board) -> None:
    statuses = [
        pb.ModelVersionStatus(
            version=f"3.{number}",
            state=pb.MODEL_STATE_UNLOADED,
            created_time_ms=NOW_MS - 500 * (412 - number),
            metrics={"hr@10": 0.17 + number / 20_000, "settled_auc": 0.70},
        )
        for number in range(40, 401, 60)
    ]
    live = pb.ModelVersionStatus(
        version="3.412",
        state=pb.MODEL_STATE_AVAILABLE,
        created_time_ms=NOW_MS - 760,
        loaded_time_ms=NOW_MS - 700,
        is_live=True,
        metrics={"hr@10": 0.191, "settled_auc": 0.71},
    )
    held = pb.ModelVersionStatus(
        version="3.388",
        state=pb.MODEL_STATE_HELD,
        reason="organic_ndcg fell by 0.051 against counters",
        created_time_ms=NOW_MS - 500 * (412 - 388),
    )
    for number in range(10, 412, 3):
        delta = board.versions._entry(f"3.{number}")
        delta.kind, delta.created_ms = "delta", NOW_MS - 500 * (412 - number)
    board.versions.on_statuses([*statuses, held, live])
    order = {"order": "rollback", "version": "3.280", "role": "admin", "time_ms": NOW_MS - 120_000, "reason": ""}
    board.versions.on_order(json.dumps(order).encode())


def _tell_history(board: Board) -> None:
    dice = random.Random(11)
    for step in range(600):
        time_ms, grown = NOW_MS - 2000 * (600 - step), 1 - math.exp(-step / 150)
        board.history.add(
            time_ms,
            {
                "judged:organic_ndcg": 0.2 + 0.06 * grown + dice.gauss(0, 0.001),
                "baseline:organic_ndcg": 0.2 + 0.03 * grown + dice.gauss(0, 0.001),
                "metric:hr@10": 0.1 + 0.09 * grown + dice.gauss(0, 0.002),
                "requests_per_s": 40 + 8 * math.sin(step / 40) + dice.gauss(0, 1.5),
                "events_per_s": 95 + 14 * math.sin(step / 60) + dice.gauss(0, 3),
                "samples_per_s": 94 + 14 * math.sin(step / 60) + dice.gauss(0, 4),
                "stage:total:p50": 4.4 + dice.gauss(0, 0.1),
                "stage:total:p99": 17 + dice.gauss(0, 1),
                "lag:trainer": abs(dice.gauss(12, 8)),
                "lag:ingester": abs(dice.gauss(3, 2)),
            },
        )
    for offset in range(200):
        board.freshness.on_version(f"3.{200 + offset}", NOW_MS - 300 * (200 - offset), {"s:0": offset})
        board.freshness.on_live(f"3.{200 + offset}", NOW_MS - 300 * (200 - offset) + 70)
        event_ms = NOW_MS - 300 * (200 - offset) - int(dice.expovariate(1 / 200))
        board.freshness.on_sample("s:0", offset, event_ms + 160, event_ms)


@contextmanager
def served_page(board: Board) -> Iterator[str]:
    """Serve the page of a board on a free port; yields its address."""
    state_dir = Path(board.endpoints.state)
    make_operator_tokens(state_dir)
    tokens = Tokens(state_dir / "tokens.json", operator_files(state_dir))
    web = Web(
        board, Access(tokens, "127.0.0.1:0"), ArmsReport(board.app, ServingConfig(), board.endpoints.kafka_servers)
    )
    config = uvicorn.Config(web.app(), host="127.0.0.1", port=0, log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    started = threading.Event()

    async def serve() -> None:
        serving = asyncio.ensure_future(server.serve())
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        started.set()
        await serving

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    started.wait(30.0)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10.0)
