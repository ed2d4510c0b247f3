"""Flink SQL jobs: raw events become feature rows, dead letters and training samples.

In: `headrace.events.v1`, `headrace.events.backfill.v1`, `headrace.items.v1`, `headrace.served.v1`.
Out: `headrace.features.<view>.v1`, `headrace.events.dlq.v1`, `headrace.samples.v1`.
May import: `protos`, `features` (its configuration only: importing feast costs seconds) and, as the only package,
pyflink.

Every module but `submission` writes SQL text from configuration and needs no JVM.
"""
