"""Which arm of an experiment answers a user, and whether an arm is better than another.

In: `serving.experiment`, `serving.arms` and `serving.canary` of `headrace.yaml`, orders for a canary, answered lists
and the feedback on them. Out: an `Arm` for every user; verdicts. May import what serving may.
"""
