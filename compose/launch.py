"""Become a command that is told to end when its supervisor dies: `python launch.py SUPERVISOR_PID COMMAND…`.

A file of its own, run with `-I -S` (15 ms): a `preexec_fn` would fork inside a process that has threads, where a lock
held by another thread hangs the child.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask the kernel for SIGTERM at the supervisor's death, then exec the command."""
    supervisor_pid, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != supervisor_pid:  # It died before the call above.
        sys.exit(1)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
