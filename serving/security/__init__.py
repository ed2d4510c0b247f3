"""Who may call what, and over which connections: all of the server's security, written once.

`roles.py` is the table of methods, `guard.py` holds gRPC calls to it and `metrics_port.py` Prometheus' scrapes;
`tokens.py` judges tokens, `token_file.py` follows their file, `token_keeper.py` writes it; `listening.py` says where
may be listened and how; `error_texts.py` keeps what must not leave the process out of what is answered.

Light on purpose: the command line imports it. May import `features.config`, grpc, msgspec, prometheus_client.
"""
