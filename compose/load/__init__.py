"""Asks `Recommend` as a crowd would: at moments that are set beforehand, whatever becomes of the answers.

In: addresses, a rate, users. Out: latencies from when each call was due, and what went wrong. May import: protos,
features, serving.security, compose.
"""
