"""Who may call the server, and over which connections; what all parts share is in `features/security`.

`roles.py` is the table of methods, `guard.py` holds gRPC calls to it, `connection.py` bounds a connection;
`token_keeper.py` writes the tokens' file, `operator_tokens.py` those of this machine; `error_texts.py` keeps what must
not leave the process out of what is answered.

Light on purpose: the command line imports it. May import `features`, grpc, msgspec, prometheus_client.
"""
