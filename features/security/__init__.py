"""Who may reach a port of any part, and over which connections: roles, tokens, certificates; written once.

`tokens.py` judges tokens, `token_file.py` follows their file, `listening.py` says where may be listened and how,
`metrics_port.py` answers Prometheus. What is gRPC's lies in `serving/security/`.

Light on purpose: every part and the command line import it. May import `features.config`, msgspec, prometheus_client.
"""
