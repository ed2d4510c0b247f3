"""The demo: a real data set replayed as a living app against the running stack.

In: ML-100k (or an events file) and the addresses of a stack. Out: a live view, a summary, one JSON file.
The event's way here: `data` → `pacing` (who acts when) → `driver` (probe, then produce) → `topic_reader` (what the
stack made of it) → `ledger`, `freshness` → `summary`. `visitors` browse beside; `baselines` see the same order.
May import: protos, features and `compose`; of the stack's processes it knows addresses and topics only.
"""
