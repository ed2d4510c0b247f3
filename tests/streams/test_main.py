"""The command: what it asks of the cluster, and what it says when something is missing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from streams.__main__ import main
from tests.running_stack import ROOT


class _Cluster(BaseHTTPRequestHandler):
    """A cluster on which both jobs run; an older feature job was cancelled."""

    def do_GET(self) -> None:
        """Answer `/jobs/overview`."""
        jobs = [
            {"name": "headrace-feature-job", "jid": "old", "state": "CANCELED"},
            {"name": "headrace-feature-job", "jid": "f1", "state": "RESTARTING"},
            {"name": "headrace-sample-job", "jid": "s1", "state": "RUNNING"},
        ]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"jobs": jobs}).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


@pytest.fixture
def cluster() -> Iterator[str]:
    """Address of the cluster."""
    server = HTTPServer(("127.0.0.1", 0), _Cluster)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def _arguments(tmp_path: Path, flink: str) -> list[str]:
    endpoints = tmp_path / "endpoints.json"
    addresses = {"kafka": "127.0.0.1:1", "redis": "127.0.0.1:2", "flink": flink}
    endpoints.write_text(json.dumps(addresses | {"model_store": str(tmp_path), "state": str(tmp_path)}))
    return ["--config", str(ROOT / "headrace.yaml"), "--endpoints", str(endpoints)]


def test_jobs_that_run_are_not_submitted_again(
    tmp_path: Path, cluster: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second start names their ids, says READY, and never starts a JVM."""
    assert main(_arguments(tmp_path, cluster)) == 0
    ids = {"feature_job": "f1", "sample_job": "s1"}
    assert capsys.readouterr().out == f"READY streams {json.dumps(ids)}\n"
    assert json.loads((tmp_path / "flink" / "jobs.json").read_text()) == ids


def test_endpoints_without_flink_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bad configuration ends with exit code 2."""
    assert main(_arguments(tmp_path, "")) == 2
    assert "flink is empty" in capsys.readouterr().err


def test_a_dead_cluster_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After waiting as long as the configuration says."""
    monkeypatch.setenv("HEADRACE_STREAMS_SUBMIT_TIMEOUT_S", "0.01")
    assert main(_arguments(tmp_path, "127.0.0.1:9")) == 3
    assert "does not answer" in capsys.readouterr().err
