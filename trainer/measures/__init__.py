"""Measures: what `trainer.metrics` is made of, each a bounded, additive summary of predictions taken before learning.

In: ranks, chances and labels of one micro-batch. Out: numbers, and state for a checkpoint. May import: numpy, river.
"""
