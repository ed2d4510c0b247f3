"""Send many events fast: bounded memory, every one acknowledged or named.

python send_many.py 127.0.0.1:9092 100000
"""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import Future

from headrace_client import Ack, BufferFullError, Event, EventProducer, HeadraceClientError


class Outcomes:
    """What became of the events; told by the producer's own thread."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.lost: list[str] = []
        self._lock = threading.Lock()

    def follow(self, event_id: str, future: Future[Ack]) -> None:
        """Count the event once its future resolves."""
        future.add_done_callback(lambda done: self._count(event_id, done))

    def _count(self, event_id: str, done: Future[Ack]) -> None:
        with self._lock:
            if done.exception() is None:
                self.acknowledged += 1
            else:
                self.lost.append(event_id)


def send_patiently(producer: EventProducer, event: Event) -> Future[Ack]:
    """Send, and where too many are on their way wait and try again: nothing is dropped.

    A web server would rather answer its caller than wait: lower `block_s` there, and decide what may be lost.
    """
    while True:
        try:
            return producer.send(event)
        except BufferFullError:
            print("Kafka is slow, waiting", file=sys.stderr)


def main() -> int:
    """Send the events of a thousand users."""
    if len(sys.argv) != 3 or not sys.argv[2].isdigit():
        print("usage: send_many.py HOST:PORT COUNT", file=sys.stderr)
        return 2
    address, count = sys.argv[1], int(sys.argv[2])
    outcomes, started_s = Outcomes(), time.monotonic()
    try:
        # linger_ms lets events travel together: far more per second, each a little later.
        with EventProducer(address, max_pending=5_000, block_s=5.0, linger_ms=10) as producer:
            for number in range(count):
                # An id of our own: were this program run again after a crash, nothing would count twice.
                event_id = f"example-{number}"
                event = Event(f"user-{number % 1000}", f"item-{number % 50}", "view", event_id=event_id)
                outcomes.follow(event_id, send_patiently(producer, event))
            producer.flush()
    except HeadraceClientError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 1
    rate = outcomes.acknowledged / (time.monotonic() - started_s)
    print(f"{outcomes.acknowledged} acknowledged, {len(outcomes.lost)} lost, {rate:.0f}/s")
    return 1 if outcomes.lost else 0


if __name__ == "__main__":
    sys.exit(main())
