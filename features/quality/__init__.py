"""The quality job: watches the data, not the code, and marks windows of it that must not teach.

Comes in: `headrace.events.v1`, `headrace.events.dlq.v1`, orders on `headrace.control.v1`. Goes out: one profile a
window with its verdict, on `headrace.quality.v1`. May import protos and features. Only `quality_log.py` touches Kafka;
counting (`window_counts.py`) and judging (`detection.py`) are pure.
"""
