"""Which process this is, and whether another one may still be running."""

from __future__ import annotations

import os
import socket

import psutil


def process_identity() -> str:
    """Return `host/pid/start time` of this process: a recycled pid is another identity."""
    return f"{socket.gethostname()}/{os.getpid()}/{psutil.Process().create_time():.2f}"


def can_be_running(identity: str) -> bool:
    """Say whether the process named by `identity` may be alive; of other machines nothing is known, so yes."""
    host, _, process = identity.partition("/")
    pid, _, start_time = process.partition("/")
    if host != socket.gethostname() or not pid.isdigit():
        return True
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" == start_time
    except psutil.NoSuchProcess:
        return False
