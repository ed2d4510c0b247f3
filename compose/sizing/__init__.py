"""`headrace plan`: from a load to partitions, parallelism, processes, memory, disk and network.

In: a load, and the measured unit costs of `unit_costs.yaml`. Out: a table whose every row says by which cost and which
arithmetic it came about. May import: features, compose.errors.
"""
