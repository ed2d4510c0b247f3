"""Announce a catalogue, change one item, take another away.

python announce_items.py 127.0.0.1:9092
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

from headrace_client import EventProducer, HeadraceClientError, Item

DAY_MS = 86_400_000


def main() -> int:
    """Announce three items, and what becomes of two of them."""
    if len(sys.argv) != 2:
        print("usage: announce_items.py HOST:PORT", file=sys.stderr)
        return 2
    now_ms = time.time_ns() // 1_000_000
    tea = Item("green-tea", title="Green tea", categories=["drinks", "tea"], published_time_ms=now_ms)
    cup = Item("cup", title="Cup", categories=["kitchen"], attributes={"colour": "blue"})
    voucher = Item("voucher", title="Ten per cent off", expires_time_ms=now_ms + 7 * DAY_MS)
    try:
        with EventProducer(sys.argv[1]) as producer:
            announced = [producer.announce(item) for item in (tea, cup, voucher)]
            # The newest announcement of an id is the whole truth: send every field again, not only what changed.
            announced.append(producer.announce(replace(cup, is_available=False)))
            # Not out of stock but gone for good.
            announced.append(producer.delete_item(voucher.item_id))
            for future in announced:
                future.result()
    except HeadraceClientError as error:
        print(f"not all announced: {error}", file=sys.stderr)
        return 1
    print(f"{len(announced)} announcements acknowledged")
    return 0


if __name__ == "__main__":
    sys.exit(main())
