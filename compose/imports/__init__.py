"""Files of events that apps already have become Headrace events: a mapping says which column is which field.

In: parquet, JSON lines or CSV, and a mapping (`imports` in `headrace.yaml`, or a shipped one). Out: events as
`headrace_client` has them.
May import: features.config and headrace_client; nothing of Kafka, nothing of the stack.
"""
