"""Makes what takes long in a thread, one at a time, while requests go on with what there is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

Made = TypeVar("Made")


class MadeBeside(Generic[Made]):
    """One thing that is made anew again and again. Used by one thread alone; only the making is another's."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="made beside")
        self._making: Future[Made] | None = None

    @property
    def is_free(self) -> bool:
        """Whether something may be begun: what it needs is gathered only then."""
        return self._making is None

    def begin(self, make: Callable[[], Made]) -> None:
        """Begin to make; only while free."""
        assert self._making is None
        self._making = self._threads.submit(make)

    def take(self) -> Made | None:
        """Return what was made since, once; None where nothing was."""
        making = self._making
        if making is None or not making.done():
            return None
        self._making = None
        try:
            return making.result()
        except Exception:  # What there is serves on, and the next try is begun by the next look.
            logger.exception("could not make a newer one; what there is serves on")
            return None
