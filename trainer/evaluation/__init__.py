"""Evaluation: the trainer's own learner over files, strictly in time order, predict before learn, without Kafka.

In: parquet of events, shown lists and items. Out: prequential metrics, overall and by day, curves, and the same for
simple methods under the same rules (docs/evaluate.md). May import: protos, features, trainer.
"""
