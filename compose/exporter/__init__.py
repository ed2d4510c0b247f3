"""The exporter: tells Prometheus of what is not ours, Kafka, Flink and Redis, and of the processes of a local stack.

Comes in: the endpoints file. Goes out: one metrics port. Everything is asked when Prometheus asks, and a server that
does not answer is told as `..._up 0`; nothing else waits for it. May import features and compose.
"""
