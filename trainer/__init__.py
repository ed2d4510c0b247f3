"""Trainer: learns from samples while they arrive and publishes versions of the model.

In: `headrace.samples.v1`, `headrace.items.v1`. Out: checkpoints, snapshots in the model store, `headrace.models.v1`.
May import: protos, features. Serving takes `model`, `embedding_table` and `version_files` from here, nothing else.
"""
