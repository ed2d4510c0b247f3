"""A backend with FastAPI: lists for a page, and a collector of what browsers send.

uvicorn fastapi_app:app      (HEADRACE_SERVING and HEADRACE_KAFKA name the addresses; needs the package fastapi)
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Cookie, FastAPI, HTTPException
from pydantic import BaseModel, Field

from headrace_client import (
    AsyncRecommender,
    BufferFullError,
    Event,
    EventProducer,
    InvalidRecordError,
    RecommendError,
)

MAX_BATCH = 50
ACTIONS = {"view", "click", "like", "dismiss"}
"""What a browser may say. Purchases come from the backend, which knows that they were paid."""


class Seen(BaseModel):
    """One thing a browser saw its user do."""

    event_id: str = Field(min_length=1, max_length=128)
    """Made in the browser: a batch that is sent twice counts once."""
    item_id: str = Field(min_length=1, max_length=128)
    action: str
    value: float | None = None
    request_id: str = ""
    request_token: str = ""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one client and one producer for the whole process."""
    kafka = os.environ.get("HEADRACE_KAFKA", "127.0.0.1:9092")
    app.state.producer = await asyncio.to_thread(EventProducer, kafka, block_s=0.05, linger_ms=5)
    async with AsyncRecommender(os.environ.get("HEADRACE_SERVING", "127.0.0.1:50051"), deadline_s=0.3) as recommender:
        app.state.recommender = recommender
        yield
    await asyncio.to_thread(app.state.producer.close)


app = FastAPI(lifespan=lifespan)


@app.get("/api/list")
async def list_for_page(user: Annotated[str, Cookie()], num: int = 10) -> dict[str, Any]:
    """Return a list, and what the page must send back with a click on it."""
    try:
        answer = await app.state.recommender.recommend(user, num_items=min(max(num, 1), 50))
    except RecommendError:
        return {"items": [], "request_id": "", "request_token": ""}  # Show something of your own.
    items = [item.item_id for item in answer.items]
    return {"items": items, "request_id": answer.request_id, "request_token": answer.request_token}


@app.post("/api/seen", status_code=202)
async def collect(seen: Annotated[list[Seen], Field(max_length=MAX_BATCH)], user: Annotated[str, Cookie()]) -> int:
    """Take a batch of a browser; the user is who the cookie says, never who the batch says.

    A plain cookie keeps this example short: take the user from your own signed session.
    """
    if unknown := {each.action for each in seen} - ACTIONS:
        raise HTTPException(422, f"a browser may not send {', '.join(sorted(unknown))}")
    try:
        for each in seen:
            await asyncio.to_thread(app.state.producer.send, Event(user_id=user, **each.model_dump()))
    except InvalidRecordError as error:
        raise HTTPException(422, str(error)) from error
    except BufferFullError as error:  # The browser keeps the batch and sends it again.
        raise HTTPException(503, "busy", headers={"Retry-After": "2"}) from error
    return len(seen)
