"""Answer `Recommend` with the newest good model version and the features of this moment.

In: gRPC calls; user rows and consumed items from Redis; item counters, items and model announcements from Kafka;
version directories from the model store. Out: answers, and `headrace.served.v1` (what was shown, with the inputs the
ranker saw).

May import `protos`, `features`, and from the trainer only `model`, `embedding_table` and `version_files`.
"""
