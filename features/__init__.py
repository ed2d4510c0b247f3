"""Features: what is declared in Feast, how it gets into Redis, and how raw counters become model inputs.

In: feature topics, `headrace.yaml`. Out: rows in the online store, candidates, ranker inputs.
May import: protos.
"""
