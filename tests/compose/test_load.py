"""`headrace load` asks when calls are due, whatever the answers do, and says so with an exit code."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

from compose.load.arrivals import arrivals
from compose.load.calls import Call, Questions, ask_all
from compose.load.report import Thresholds
from compose.load.tally import Tally
from protos import serving_pb2, serving_pb2_grpc
from tests.compose.test_cli import endpoints_file, run

STALL_S = 0.6


class StallingRecommender(serving_pb2_grpc.RecommenderServicer):
    """Answers at once, but for the calls that come while it stalls: they wait for its end."""

    def __init__(self) -> None:
        self.users: set[str] = set()
        self.refuse = False
        self.calls = 0
        self.stall_at = -1
        self._is_free = threading.Event()
        self._is_free.set()

    def Recommend(self, request: Any, context: Any) -> Any:
        """Answer, once free."""
        self.users.add(request.user_id)
        self.calls += 1
        if self.calls == self.stall_at:
            self._is_free.clear()
            threading.Timer(STALL_S, self._is_free.set).start()
        self._is_free.wait(10.0)
        if self.refuse:
            context.abort(grpc.StatusCode.INTERNAL, "as told")
        items = [serving_pb2.RankedItem(item_id=f"i{number}", score=0.5) for number in range(request.num_items)]
        return serving_pb2.RecommendResponse(items=items, model_version="1.0", degraded_reasons=["stale"])


@pytest.fixture
def served() -> Iterator[tuple[StallingRecommender, str]]:
    """A real server on a free port, with a thread for every call that may wait."""
    servicer, server = StallingRecommender(), grpc.server(futures.ThreadPoolExecutor(200))
    register: Any = serving_pb2_grpc.add_RecommenderServicer_to_server
    register(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    server.stop(0).wait()


def call(ms: float = 1.0, code: str = "OK", lag_ms: float = 0.0) -> Call:
    """A call that ended so."""
    return Call(0.0, lag_ms, ms, code, is_valid=code == "OK", is_ranked=True, reasons=())


@pytest.mark.parametrize("kind", ["constant", "poisson"])
def test_parts_together_make_the_rate(kind: Any) -> None:
    """Each in ascending order, none like another."""
    parts = [list(arrivals(kind, 200.0, 20.0, seed=3, part=part, parts=4)) for part in range(4)]
    assert all(part == sorted(part) for part in parts)
    assert len({tuple(part) for part in parts}) == 4
    assert sum(map(len, parts)) == pytest.approx(4000, rel=0.06)


def test_even_arrival_is_even() -> None:
    """One process or several."""
    whole = list(arrivals("constant", 100.0, 1.0))
    assert whole == sorted(moment for part in range(3) for moment in arrivals("constant", 100.0, 1.0, 0, part, 3))
    assert whole == [number / 100.0 for number in range(100)]


async def test_a_stalled_server_is_asked_no_less(served: tuple[StallingRecommender, str]) -> None:
    """And every call that was due meanwhile counts its wait (no coordinated omission)."""
    servicer, address = served
    servicer.stall_at = 40
    calls: list[Call] = []
    await ask_all(Questions([address], ["u"], num_items=3), arrivals("constant", 100.0, 1.5), calls.append)
    assert len(calls) == 150
    assert all(each.is_valid for each in calls)
    # A closed loop of one client would have met the stall once.
    assert sum(each.ms > 100.0 for each in calls) > 20


def test_tallies_of_processes_add_up() -> None:
    """Also over the pipe, and where one has no calls; a call without an answer counts as its whole deadline."""
    left, right = Tally(), Tally()
    for ms in range(1, 100):
        left.add(call(float(ms)), deadline_s=1.0)
    right.add(call(3.0, "UNAVAILABLE"), deadline_s=1.0)
    total = Tally.from_wire(json.loads(json.dumps(Tally().to_wire())))
    for part in (left, right):
        total.merge(Tally.from_wire(json.loads(json.dumps(part.to_wire()))))
    assert total.calls == 100
    assert total.error_share == pytest.approx(0.01)
    assert total.latency_ms(50.0) == pytest.approx(50.0, rel=2e-3)
    assert total.latency_ms(100.0) == pytest.approx(1000.0, rel=2e-3)


def test_thresholds_are_told_one_by_one() -> None:
    """Those that are not given are never missed."""
    tally = Tally()
    tally.add(call(80.0), 1.0)
    tally.add(call(1.0, "INTERNAL"), 1.0)
    assert Thresholds().missed(tally) == []
    assert [sentence.split(",")[0] for sentence in Thresholds(50.0, 0.1).missed(tally)] == [
        "p99 is 1000.4 ms",
        "50.00% failed",
    ]


def test_the_command_counts_every_call(served: tuple[StallingRecommender, str], tmp_path: Path, capfd: Any) -> None:
    """Of two processes, for the users of a file; nothing of the warm-up."""
    servicer, address = served
    (tmp_path / "users.txt").write_text("ada\n\n grace \n")
    options = ["--rps", "60", "--seconds", "1.5", "--arrival", "constant", "--processes", "2", "--warm-up-s", "0.5"]
    options += ["--users-file", str(tmp_path / "users.txt"), "--deadline-ms", "8000"]
    path = endpoints_file(tmp_path, serving=address)
    assert run("load", *options, "--endpoints", str(path), "--max-error-share", "0", "--json") == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["calls"], found["codes"], found["missed"]) == (90, {"OK": 90}, [])
    assert found["degraded_reasons"] == {"stale": 90}
    assert servicer.users == {"ada", "grace"}


def test_a_missed_threshold_is_an_exit_code(
    served: tuple[StallingRecommender, str], tmp_path: Path, capfd: Any
) -> None:
    """After the figures, which scripts want all the same."""
    options = ["--rps", "40", "--seconds", "0.5", "--warm-up-s", "0", "--max-p99-ms", "0.001"]
    assert run("load", *options, "--endpoints", str(endpoints_file(tmp_path, serving=served[1]))) == 12
    told = capfd.readouterr()
    assert "latency from due to answered, p99.9" in told.out
    assert "above --max-p99-ms 0.001" in told.err


@pytest.mark.parametrize("refuse", [True, False])
def test_a_server_that_answers_nothing_is_said_so(
    refuse: bool, served: tuple[StallingRecommender, str], tmp_path: Path, capfd: Any
) -> None:
    """Whether it refuses every call or is not there; percentiles would mean nothing."""
    served[0].refuse = refuse
    path = endpoints_file(tmp_path, **({"serving": served[1]} if refuse else {}))
    options = ["--rps", "20", "--seconds", "0.5", "--warm-up-s", "0", "--deadline-ms", "200"]
    assert run("load", *options, "--endpoints", str(path)) == 3
    assert "was answered at" in capfd.readouterr().err


def test_a_file_without_users_is_refused(tmp_path: Path, capfd: Any) -> None:
    """Before anything is asked."""
    (tmp_path / "users.txt").write_text("\n")
    options = ["--users-file", str(tmp_path / "users.txt"), "--endpoints", str(endpoints_file(tmp_path))]
    assert run("load", *options) == 2
    assert "names 0 users" in capfd.readouterr().err
