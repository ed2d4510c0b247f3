"""The map and the order agree with what plain Python keeps."""

from __future__ import annotations

import numpy as np

from trainer.id_map import IdMap, UseOrder


def test_map_finds_what_is_there() -> None:
    """Set, overwritten and deleted ids."""
    rows = IdMap()
    for row, id_ in enumerate(["a", "b", "c"]):
        rows[id_] = row
    rows["b"] = 7
    del rows["c"]
    assert rows.rows_of(["b", "a", "c", "b"]).tolist() == [7, 0, -1, 7]
    assert ("a" in rows, "c" in rows) == (True, False)


def test_order_is_that_of_last_use() -> None:
    """New rows are the newest, used ones become it."""
    order = UseOrder()
    for _ in range(4):
        order.append()
    order.use(1)
    order.use(3)
    assert (list(order), order.oldest(2)) == ([0, 2, 1, 3], [0, 2])


def test_moved_rows_keep_their_place() -> None:
    """Rows 0 and 2 go, so that 4 becomes 0 and 3 becomes 2, neighbours in the order included."""
    order = UseOrder()
    for _ in range(5):
        order.append()
    for row in (1, 4, 3):
        order.use(row)
    order.remove([0, 2], holes=[0, 2], moved=[4, 3])
    assert list(order) == [1, 0, 2]


def test_restored_order_goes_on_alike() -> None:
    """Links are all there is."""
    order, other = UseOrder(), UseOrder()
    for _ in range(3):
        order.append()
    order.use(0)
    other.restore(order.links())
    other.append()
    other.use(2)
    assert list(other) == [1, 0, 3, 2]
    assert other.links().dtype == np.int64
