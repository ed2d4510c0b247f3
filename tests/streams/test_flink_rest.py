"""What is asked of Flink's REST interface."""

from __future__ import annotations

from typing import Any

import pytest

from streams.flink_rest import FlinkRest


@pytest.mark.parametrize(
    ("stop", "verb", "field"), [(True, "stop", "targetDirectory"), (False, "savepoints", "target-directory")]
)
def test_a_savepoint_goes_where_it_is_told_to(
    monkeypatch: pytest.MonkeyPatch, stop: bool, verb: str, field: str
) -> None:
    """Flink names the field of the two calls differently; under the other name it takes its own default, in silence."""
    asked: dict[str, Any] = {}

    def answer(_rest: FlinkRest, path: str, method: str, body: Any = None) -> Any:
        if method == "POST":
            asked[path] = body
            return {"request-id": "r1"}
        return {"status": {"id": "COMPLETED"}, "operation": {"location": "file:/s/savepoint-1"}}

    monkeypatch.setattr(FlinkRest, "_call", answer)
    assert FlinkRest("f:1").savepoint("j1", "file:/s", stop, 1.0) == "file:/s/savepoint-1"
    assert asked[f"/jobs/j1/{verb}"][field] == "file:/s"
