"""Follows the tokens while the server runs: a new one holds within a second, a revoked one no longer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from features.config import ConfigError
from features.file_stamp import FileStamp, check_every, stamp_of
from features.security.role import Role
from features.security.token_records import read_tokens
from features.security.tokens import Token, TokenBook, digest_of

logger = logging.getLogger(__name__)


class Tokens(Collector):
    """The tokens that hold now.

    A role is guarded from the first token that is seen of it until the process ends: who revokes the last one opens
    nothing. The operator's own tokens do not guard a role; they only pass where it is guarded.

    Args:
        path: file of digests.
        operator_files: files with a token in plain text for the commands of this machine, by role.
        guarded: roles that are guarded in any case.
        clock_ms: tells the time.

    Raises:
        ConfigError: the file cannot be used. Later such a file only keeps the tokens as they are.
    """

    def __init__(
        self,
        path: Path,
        operator_files: Mapping[Role, Path] | None = None,
        guarded: Iterable[Role] = (Role.ADMIN,),
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.refused = {"token": 0, "role": 0, "method": 0}
        """Reason -> calls refused."""
        self.refusal = ""
        """Why the file as it is now was refused; empty where it holds."""
        self._path = path
        self._operator_files = dict(operator_files or {})
        self._guarded = set(guarded)
        self._clock_ms = clock_ms
        self._stamps = self._look()
        self._use(read_tokens(path))

    def guards(self, role: Role) -> bool:
        """Say whether calls of this role need a token."""
        return role in self._guarded

    def count(self, role: Role) -> int:
        """Return how many tokens of a role are valid now, the operator's left out."""
        now_ms = self._clock_ms()
        return sum(token.role is role and not token.has_expired(now_ms) for token in self._listed)

    def guard(self, role: Role) -> None:
        """Guard a role from now on, whether it has tokens or not."""
        self._guarded.add(role)

    def why_not(self, role: Role, secret: str) -> str:
        """Return why a caller may not act in a role: `token` or `role`; empty where it may."""
        if role not in self._guarded:
            return ""
        roles = self._book.roles_of(secret, self._clock_ms())
        if role in roles:
            return ""
        reason = "role" if roles else "token"
        self.refused[reason] += 1
        return reason

    def check(self) -> None:
        """Read the files again where one changed; a wrong one is refused and the tokens stay."""
        stamps = self._look()
        if stamps == self._stamps:
            return
        try:
            self._use(read_tokens(self._path))
        except ConfigError as error:
            self.refusal = str(error)
            logger.warning("kept the tokens as they were: %s", error)
        else:
            self.refusal = ""
            logger.info("tokens were read anew: %d hold", len(self._listed))
        self._stamps = stamps

    async def follow(self, period_s: float) -> None:
        """Look at the files every `period_s`, for good."""
        await check_every(self.check, period_s)

    def collect(self) -> Iterator[Metric]:
        """Return what Prometheus scrapes."""
        refused = CounterMetricFamily("headrace_serving_unauthorized", "Calls refused for tokens.", labels=["reason"])
        for reason, count in self.refused.items():
            refused.add_metric([reason], count)
        tokens = GaugeMetricFamily("headrace_serving_tokens", "Valid tokens.", labels=["role"])
        for role in Role:
            tokens.add_metric([role], self.count(role))
        stale = GaugeMetricFamily("headrace_serving_tokens_stale", "1 while the file is bad.", value=bool(self.refusal))
        yield from (refused, tokens, stale)

    def _use(self, book: TokenBook) -> None:
        self._listed = book.tokens
        self._guarded |= {role for role in Role if book.has(role)}
        self._book = TokenBook((*book.tokens, *self._operator_tokens()))

    def _operator_tokens(self) -> Iterator[Token]:
        for role, path in self._operator_files.items():
            try:
                secret = path.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError):
                continue
            if secret:
                yield Token("operator", role, digest_of(secret), 0)

    def _look(self) -> list[FileStamp]:
        return [stamp_of(path) for path in (self._path, *self._operator_files.values())]
