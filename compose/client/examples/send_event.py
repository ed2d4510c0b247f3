"""Tell Headrace that a user did something, and wait until Kafka has it for good.

python send_event.py 127.0.0.1:9092 ada green-tea like
"""

from __future__ import annotations

import sys

from headrace_client import Event, EventProducer, HeadraceClientError


def main() -> int:
    """Send one event."""
    if len(sys.argv) != 5:
        print("usage: send_event.py HOST:PORT USER ITEM ACTION", file=sys.stderr)
        return 2
    address, user_id, item_id, action = sys.argv[1:]
    try:
        with EventProducer(address) as producer:
            # The id and the time are filled in. An event that reacts to a list also carries the list's request_id.
            ack = producer.send(Event(user_id, item_id, action, context={"page": "example"})).result()
    except HeadraceClientError as error:
        print(f"not sent: {error}", file=sys.stderr)
        return 1
    print(f"Kafka has it: partition {ack.partition}, offset {ack.offset}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
