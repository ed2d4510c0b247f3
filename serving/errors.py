"""Everything that serving raises on purpose.

ServingError
├── WorkersLostError            no worker process is left; one sentence, exit code 1
└── CallError                   answers a call; `call_errors.STATUS_OF` holds the gRPC codes
├── RequestError            a value in the request is out of bounds
├── RefusedError            the server takes no more just now; the error says when to come again
│   ├── QuotaError          a token has used its requests up
│   └── OverloadedError     too many requests are before this one
├── NoModelError            the call needs a model and none is loaded
├── NoWorkerError           the call needs a worker process and none serves
└── OrderError
    ├── VersionUnknownError no such version in the model store
    ├── VersionRefusedError the version is not fit to serve, or cannot be built just now
    ├── StoreAwayError      the model store does not answer, and there is no copy here
    ├── GivenUpError        an order came first, or the server stops
    ├── NothingHeldError    release and reject need a version that a gate holds
    ├── CanaryError         a canary cannot begin as things are
    └── WorkersDifferError  some workers carried an order out, some did not
"""

from __future__ import annotations


class ServingError(Exception):
    """Expected: base of the errors that serving raises on purpose."""


class WorkersLostError(ServingError):
    """Unexpected: every worker process ended again and again."""


class CallError(ServingError):
    """Expected: base of the errors that answer a call."""


class RequestError(CallError):
    """Expected: a value in the request is out of bounds; the message names value, bound and fix."""


class RefusedError(CallError):
    """Expected: the server takes no more requests just now.

    Args:
        message: what was too much.
        retry_ms: when to come again.
    """

    def __init__(self, message: str, retry_ms: int) -> None:
        super().__init__(message)
        self.retry_ms = retry_ms


class QuotaError(RefusedError):
    """Expected: a token has used its requests up."""


class OverloadedError(RefusedError):
    """Expected: too many requests are before this one."""


class NoModelError(CallError):
    """Expected: the call needs a model and none is loaded yet."""


class NoWorkerError(CallError):
    """Unexpected: no worker process serves just now."""


class OrderError(CallError):
    """Expected: base of the errors of admin orders."""


class VersionUnknownError(OrderError):
    """Expected: the model store has no such version."""


class VersionRefusedError(OrderError):
    """Expected: a version failed a check (digest, shape, canary ..) or cannot be read now; the old one still serves."""


class StoreAwayError(OrderError):
    """Expected: the model store does not answer, and there is no copy here; the version is not to blame."""


class GivenUpError(OrderError):
    """Expected: a version was not built to its end, as an order came first or the server stops; it is not to blame."""


class NothingHeldError(OrderError):
    """Expected: a release or reject found no version that a gate holds."""


class WorkersDifferError(OrderError):
    """Unexpected: some workers carried an order out and some did not; the message says which."""


class CanaryError(OrderError):
    """Expected: a canary cannot begin as things are; the message says what is in its way."""
