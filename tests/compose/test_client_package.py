"""The client is a package of its own, and its examples for web backends and browsers work."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from headrace_client import RankedItem, RecommendResponse, UnavailableError
from protos import serving_pb2
from tests.fakes import FakeKafka
from tests.running_stack import ROOT

CLIENT = ROOT / "compose" / "client"
EXAMPLES = CLIENT / "examples"
DOCS = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as `uv build` makes it, by the build backend itself: no network, no isolation."""
    if importlib.util.find_spec("hatchling") is None:
        uv = next((str(path) for path in (ROOT / ".tools" / "bin" / "uv",) if path.exists()), shutil.which("uv"))
        if uv is None:
            pytest.skip("neither hatchling nor uv is here")
        command = [uv, "build", "--offline", "--wheel", str(CLIENT)]
    else:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    folder = tmp_path_factory.mktemp("wheel")
    extra = ["-d", str(folder)] if "hatchling" in command else ["-o", str(folder)]
    done = subprocess.run([*command, *extra], cwd=CLIENT, capture_output=True, text=True, check=False, timeout=240)
    if done.returncode and "offline" in done.stderr.lower() + done.stdout.lower():
        pytest.skip("the build backend is not in uv's cache")
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_typed_package_and_nothing_else(wheel: Path) -> None:
    """With `py.typed`; without examples, protos of ours or tests."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in names} == {"headrace_client"}
    assert "headrace_client/py.typed" in names


def test_the_wheel_pulls_neither_torch_nor_flink(wheel: Path) -> None:
    """Three requirements, none of which leads there."""
    with zipfile.ZipFile(wheel) as archive:
        [path] = [name for name in archive.namelist() if name.endswith("METADATA")]
        metadata = Parser().parsestr(archive.read(path).decode())
    required = {re.split(r"[^\w-]", text)[0] for text in metadata.get_all("Requires-Dist") or []}
    assert required == {"grpcio", "protobuf", "kafka-python"}


def test_the_wheel_works_without_headrace(wheel: Path, tmp_path: Path) -> None:
    """Unpacked alone beside its three requirements, every public name can be imported."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import headrace_client as c;"
        "assert c.__file__.startswith(sys.path[0]); [getattr(c, name) for name in c.__all__];"
        "print([m for m in ('torch', 'pyflink', 'feast', 'serving', 'features', 'compose') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, env={}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def loaded(name: str) -> ModuleType:
    """An example as a module; its annotations are looked up by name, so it must be known."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class Answers:
    """A recommender that answers, or is away."""

    def __init__(self) -> None:
        self.is_away = False

    async def recommend(self, user_id: str, num_items: int) -> RecommendResponse:
        """Answer two items."""
        if self.is_away:
            raise UnavailableError("away")
        items = [RankedItem(item_id=f"{user_id}-{number}") for number in range(min(num_items, 2))]
        return RecommendResponse(request_id="r1", request_token="t1", items=items)


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example for FastAPI with a broker in memory."""
    pytest.importorskip("fastapi")
    kafka = FakeKafka()
    monkeypatch.setattr("headrace_client.producer.KafkaProducer", lambda **_: kafka)
    module = loaded("fastapi_app")
    module.app.state.producer = module.EventProducer("k:1", max_pending=3, block_s=0.0)
    module.app.state.recommender = Answers()
    vars(module)["kafka"] = kafka
    return module


async def call(backend: Any, method: str, path: str, body: Any = None, user: str = "ada") -> tuple[int, Any]:
    """One request over ASGI."""
    sent: list[dict[str, Any]] = []
    headers = [(b"cookie", f"user={user}".encode()), (b"content-type", b"application/json")]
    path, _, query = path.partition("?")
    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": headers,
    }
    scope |= {
        "http_version": "1.1",
        "scheme": "http",
        "server": ("test", 80),
        "root_path": "",
        "asgi": {"version": "3.0"},
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"" if body is None else json.dumps(body).encode()}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await backend.app(scope, receive, send)
    text = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(text)


def seen(**changes: Any) -> dict[str, Any]:
    """What a browser sends of one click."""
    return {"event_id": "e1", "item_id": "tea", "action": "click", "request_id": "r1", "request_token": "t1"} | changes


async def test_a_page_gets_a_list_or_an_empty_one(backend: Any) -> None:
    """A server that is away must not break the page."""
    expected = {"items": ["ada-0", "ada-1"], "request_id": "r1", "request_token": "t1"}
    assert await call(backend, "GET", "/api/list?num=5") == (200, expected)
    backend.app.state.recommender.is_away = True
    assert (await call(backend, "GET", "/api/list"))[1]["items"] == []


async def test_a_batch_becomes_events_of_the_cookie_s_user(backend: Any) -> None:
    """Whatever the batch says of users; ids stay those of the browser."""
    assert await call(backend, "POST", "/api/seen", [seen(), seen(event_id="e2", user_id="mallory")]) == (202, 2)
    events = [json.loads(value) for _, _, value in backend.kafka.records]
    assert [(event["user_id"], event["event_id"], event["request_token"]) for event in events] == [
        ("ada", "e1", "t1"),
        ("ada", "e2", "t1"),
    ]


async def test_what_a_browser_may_not_say_is_refused_whole(backend: Any) -> None:
    """Nothing of such a batch is sent; too many at once make the browser wait."""
    assert (await call(backend, "POST", "/api/seen", [seen(), seen(action="purchase")]))[0] == 422
    assert backend.kafka.records == []
    assert (await call(backend, "POST", "/api/seen", [seen(event_id=f"e{number}") for number in range(5)]))[0] == 503


COLLECTOR_TEST = """
import { createCollector } from "COLLECTOR";
const bodies = [], beacons = []; let status = 503;
const now = {
  crypto: globalThis.crypto, setInterval: () => 1, clearInterval: () => {},
  fetch: async (url, options) => { bodies.push(JSON.parse(options.body)); return { ok: status < 300, status }; },
  navigator: { sendBeacon: (url, blob) => { beacons.push(blob.size); return true; } },
};
const collector = createCollector({ url: "/api/seen", most: 2, now });
collector.seen("click", "tea", { request_id: "r1", request_token: "t1" });
await collector.send(); const kept = collector.waiting();
status = 202; await collector.send(); const after = collector.waiting();
status = 422; collector.seen("nonsense", "tea"); await collector.send(); const refused = collector.waiting();
collector.seen("view", "cup"); collector.leave();
const same = bodies[0][0].event_id === bodies[1][0].event_id;
console.log(JSON.stringify({ kept, after, refused, first: bodies[0][0], same,
  beacons: beacons.length, left: collector.waiting() }));
"""


def test_the_collector_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    """A busy backend gets the same ids again; a refused batch goes; what waits when the page goes is handed over."""
    if (node := shutil.which("node")) is None:
        pytest.skip("node is not installed here")
    (tmp_path / "collector.mjs").write_text((EXAMPLES / "collector.js").read_text())
    (tmp_path / "test.mjs").write_text(COLLECTOR_TEST.replace("COLLECTOR", "./collector.mjs"))
    done = subprocess.run([node, "test.mjs"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["kept"], found["after"], found["refused"], found["beacons"], found["left"]) == (1, 0, 0, 1, 0)
    assert found["same"] is True
    assert (found["first"]["item_id"], found["first"]["request_id"]) == ("tea", "r1")


def test_recipes_for_other_languages_name_what_the_proto_has() -> None:
    """They cannot be run here; names that nobody has would be worse than none."""
    service = serving_pb2.DESCRIPTOR.services_by_name["Recommender"]
    fields = serving_pb2.DESCRIPTOR.message_types_by_name["RecommendRequest"].fields_by_name
    assert "Recommend" in service.methods_by_name
    assert {"user_id", "num_items"} <= set(fields)
    assert all(
        text in DOCS
        for text in ("RecommendRequest.fromPartial({ userId", "RecommendRequest{UserId", "protos/serving.proto")
    )
