"""Sends a seeded stream at an even rate, whatever becomes of it: `python -m tests.faults.event_load --help`.

A process of its own. Every record has the moment at which it is due; one that waits for a broker holds up no other's
turn. The history tells of each record when it was sent and whether Kafka has it for good.
"""

from __future__ import annotations

import argparse
import sys
import time
import zlib
from concurrent.futures import Future
from functools import partial
from pathlib import Path

from headrace_client import EventProducer
from headrace_client.errors import BrokerUnavailableError, BufferFullError, NotAcknowledgedError
from headrace_client.producer import Ack
from tests.faults.history import HistoryWriter
from tests.oracle.stream_maker import Size, Step, make_stream

_RETRY_S = 0.2


def size_of(events: int, garbage: float = 0.01) -> Size:
    """Return a stream of so many events, one in fifty of which comes ten times, and of all else that an app does."""
    return Size(max(14, events // 40), max(24, events // 66), max(40, events // 16), events, 0.02, garbage)


def send_all(producer: EventProducer, steps: list[Step], rate: float, history: HistoryWriter) -> None:
    """Send every record when it is due; one that finds no place is asked for again, as an app would."""
    started_s = time.monotonic()
    for number, step in enumerate(steps):
        if (wait_s := started_s + number / rate - time.monotonic()) > 0.0:
            time.sleep(wait_s)
        history.invoke(str(number), topic=step.topic, crc=zlib.crc32(step.value or b""))
        _send(producer, step).add_done_callback(partial(_note, history, str(number)))
        if number % 200 == 0:
            print(f"AT {number / len(steps):.4f}", flush=True)
    producer.flush()


def _send(producer: EventProducer, step: Step) -> Future[Ack]:
    while True:
        try:
            # No value deletes an item; as an event it is garbage, and meant as such.
            return producer.send_record(step.topic, step.key.encode(), step.value)  # type: ignore[arg-type]
        except (BufferFullError, BrokerUnavailableError):  # Nothing was sent.
            time.sleep(_RETRY_S)


def _note(history: HistoryWriter, op: str, sent: Future[Ack]) -> None:
    error = sent.exception()
    if error is None:
        ack = sent.result()
        history.end(op, "ok", partition=ack.partition, offset=ack.offset)
    else:
        history.end(op, "info" if isinstance(error, NotAcknowledgedError) else "fail", error=str(error)[:200])


def main() -> int:
    """Send a stream."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--run", required=True, help="makes ids that no other run uses")
    parser.add_argument("--now-ms", type=int, required=True)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--garbage", type=float, default=0.01, help="records that are none, to one of all others")
    parser.add_argument("--rate", type=float, required=True, help="records a second")
    parser.add_argument("--history", type=Path, required=True)
    options = parser.parse_args()
    size = size_of(options.events, options.garbage)
    steps = make_stream(options.seed, options.run, options.now_ms, size).steps
    history = HistoryWriter(options.history)
    with EventProducer(options.kafka, linger_ms=5) as producer:
        print(f"READY {len(steps)}", flush=True)
        send_all(producer, steps, options.rate, history)
    history.close()
    print("DONE", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
