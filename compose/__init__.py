"""Everything that puts the parts together: the `headrace` command line, the local process stack, demo and clients.

Comes in: `headrace.yaml` and the installed tools. Goes out: running processes, `endpoints.json`, logs.
May import every other package, their `config` modules only at the top: torch, feast and pyflink stay in the processes
that this package starts.
"""
