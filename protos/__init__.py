"""Schemas of record: every Kafka topic and gRPC service as a proto message, with generated stubs.

In: nothing. Out: `events_pb2`, `features_pb2`, `samples_pb2`, `models_pb2`, `serving_pb2`, `serving_pb2_grpc`
(`make protos` writes them; never edit them by hand). May import: nothing of Headrace.
"""
