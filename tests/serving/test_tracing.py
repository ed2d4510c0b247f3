"""Traces: a span a request and a stage, the caller's trace honoured, nobody named, nothing where they are off."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from protos import serving_pb2 as pb
from serving.stage_times import STAGES
from serving.tracing import Tracing, TracingConfig
from tests.serving.serving_parts import World

CALLER = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
REQUEST = pb.RecommendRequest(user_id="somebody", num_items=3)


class Traced:
    """A world whose requests are traced into memory."""

    def __init__(self, world: World, **config: Any) -> None:
        self.memory = InMemorySpanExporter()
        self.tracing = Tracing(TracingConfig(is_enabled=True, **config), SimpleSpanProcessor(self.memory))
        self.world = world
        world.tracing, world.times.is_traced = self.tracing, True

    async def ask(self, traceparent: str = "") -> pb.RecommendResponse:
        """Recommend once."""
        metadata = (("traceparent", traceparent),) if traceparent else ()
        async with self.world.recommender_stub() as stub:
            answer: pb.RecommendResponse = await stub.Recommend(REQUEST, metadata=metadata)
        return answer

    def spans(self) -> dict[str, Any]:
        """Return what was exported, by name."""
        return {span.name: span for span in self.memory.get_finished_spans()}


async def test_a_request_is_a_span_with_one_for_each_stage(world: World) -> None:
    """Stages lie inside their request, one behind the other."""
    await world.serve("1.1")
    traced = Traced(world, sample_share=1.0)
    answer = await traced.ask()
    spans = traced.spans()
    request = spans.pop("Recommend")
    assert set(spans) <= {f"stage {stage}" for stage in STAGES}
    assert {"stage hydrate", "stage rank", "stage answer"} <= set(spans)
    assert {span.parent.span_id for span in spans.values()} == {request.context.span_id}
    assert all(request.start_time <= span.start_time <= span.end_time <= request.end_time for span in spans.values())
    assert request.attributes["headrace.request_id"] == answer.request_id
    assert request.attributes["headrace.model_version"] == "1.1"


async def test_a_span_names_nobody(world: World) -> None:
    """Who asked is in no trace."""
    traced = Traced(world, sample_share=1.0)
    await traced.ask()
    assert "somebody" not in "".join(span.to_json() for span in traced.memory.get_finished_spans())


@pytest.mark.parametrize(("flags", "spans"), [("01", True), ("00", False)])
async def test_a_callers_trace_and_its_decision_are_honoured(world: World, flags: str, spans: bool) -> None:
    """W3C's `traceparent` joins the caller's trace, or leaves the request out of it as the caller says."""
    traced = Traced(world, sample_share=0.0)
    await traced.ask(f"00-{CALLER}-{PARENT}-{flags}")
    found = traced.spans()
    assert bool(found) is spans
    assert {f"{span.context.trace_id:032x}" for span in found.values()} == ({CALLER} if spans else set())
    assert not spans or f"{found['Recommend'].parent.span_id:016x}" == PARENT


@pytest.mark.parametrize(
    ("share", "parent"), [(0.0, ""), (1.0, "not a traceparent"), (0.0, f"00-{CALLER}-{PARENT}-01")]
)
async def test_callers_decide_nothing_where_they_are_not_followed(world: World, share: float, parent: str) -> None:
    """The share holds for requests without a caller's trace, with a broken one, and for all where it is said so."""
    traced = Traced(world, sample_share=share, follows_callers=not parent.startswith("00-"))
    await traced.ask(parent)
    assert len([span for span in traced.memory.get_finished_spans() if span.name == "Recommend"]) == share


async def test_a_failed_request_is_told_as_one(world: World) -> None:
    """The kind of error is in the span, not its text, which may hold an id."""
    traced = Traced(world, sample_share=1.0)
    async with world.recommender_stub() as stub:
        with pytest.raises(Exception, match="num_items"):
            await stub.Recommend(pb.RecommendRequest(user_id="somebody", num_items=-1))
    status = traced.spans()["Recommend"].status
    assert (status.is_ok, status.description) == (False, "RequestError")
