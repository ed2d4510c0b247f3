"""What can go wrong between an app and Headrace.

HeadraceClientError
├── RecommendError               a call had no answer
│   ├── UnavailableError         the server is away and stayed away
│   ├── OverloadedError          the server is too busy, or a quota is used up, and stayed so
│   ├── DeadlineError            no answer in time
│   └── RefusedError             the server does not take this request; trying again changes nothing
├── InvalidRecordError           an event or item breaks a limit; nothing was sent
├── BufferFullError              too many events wait for their acknowledgement; this one was not sent
├── BrokerUnavailableError       no broker answered, or the topic is missing; this event was not sent
└── NotAcknowledgedError         a sent event was not acknowledged; it may still have arrived
"""

from __future__ import annotations


class HeadraceClientError(Exception):
    """Expected: the root of this package's errors."""


class RecommendError(HeadraceClientError):
    """Expected: a call had no answer."""


class UnavailableError(RecommendError):
    """Expected: the server is away and stayed away over all tries."""


class OverloadedError(RecommendError):
    """Expected: the server is too busy, or the quota of the token is used up, and stayed so over all tries."""


class DeadlineError(RecommendError):
    """Expected: no answer in time."""


class RefusedError(RecommendError):
    """Expected: the server does not take this request; its words are in the message."""


class InvalidRecordError(HeadraceClientError, ValueError):
    """Expected: an event or item breaks a limit of the topic; nothing was sent."""


class BufferFullError(HeadraceClientError):
    """Expected: too many events wait for their acknowledgement; slow down and send this one again."""


class BrokerUnavailableError(HeadraceClientError):
    """Expected: no broker answered, or the topic does not exist; this event was not sent."""


class NotAcknowledgedError(HeadraceClientError):
    """Expected: Kafka did not acknowledge a sent event; sending it again with its `event_id` counts it once."""
