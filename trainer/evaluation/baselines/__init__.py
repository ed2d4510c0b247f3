"""Baselines: simple methods over the same stream in the same process, under the same rules, without look-ahead.

In: the entries of a stream. Out: an `Outcome` a method, as the learner's. May import: features, trainer.
"""
