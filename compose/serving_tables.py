"""What the server answers, as tables for the terminal and as JSON."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.table import Column, Table

from protos import serving_pb2 as pb

_ID_WIDTH = 12
"""Characters of an id that stand on one line even where there is little room; longer ones are folded, not cut."""


def to_json(message: Any) -> dict[str, Any]:
    """Return a message with the field names of its proto."""
    data: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return data


def print_recommendations(answer: pb.RecommendResponse) -> None:
    """Print one answered list."""
    item_column = Column("item", overflow="fold", min_width=_ID_WIDTH)
    tells_heads = any(item.heads for item in answer.items)
    last = ["chance of"] if tells_heads else []
    table = Table("#", item_column, "score", Column("source", no_wrap=True), *last, box=None, pad_edge=False)
    for item in answer.items:
        chances = "  ".join(f"{name} {chance:.4f}" for name, chance in sorted(item.heads.items()))
        row = [str(item.position + 1), item.item_id, f"{item.score:.4f}", item.source]
        table.add_row(*row, *([chances] if tells_heads else []))
    console = Console(highlight=False)
    console.print(table)
    model = f"model {answer.model_version}, {answer.model_age_s:.1f} s old" if answer.model_version else "no model yet"
    degraded = f"; degraded: {', '.join(answer.degraded_reasons)}" if answer.degraded_reasons else ""
    console.print(f"{model}{degraded}")


def print_models(versions: Sequence[pb.ModelVersionStatus]) -> None:
    """Print the versions as the server has them."""
    table = Table("version", "state", "age s", "", "reason", box=None, pad_edge=False)
    for version in versions:
        marks = [word for word, is_set in (("live", version.is_live), ("pinned", version.is_pinned)) if is_set]
        state = pb.ModelState.Name(version.state).removeprefix("MODEL_STATE_").lower()
        age_s = f"{time.time() - version.created_time_ms / 1000:.0f}" if version.created_time_ms else ""
        table.add_row(version.version, state, age_s, " ".join(marks), version.reason)
    Console(highlight=False).print(table)
