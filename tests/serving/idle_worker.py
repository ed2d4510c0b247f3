"""A worker without a server, for tests of its parent: `python idle_worker.py SOCKET ADDRESS BEHAVIOUR`.

BEHAVIOUR is `serve`, `die` (as soon as it serves), `wait` (until a file SOCKET.go is there, before it is loaded),
`fail` (before it is loaded) or `refuse` (exit code 2).
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import grpc

from serving.workers.link import socket_address, worker_handlers

EXIT_CODES = {"fail": 3, "refuse": 2}


async def _serve(path: Path, behaviour: str) -> None:
    has_ended = asyncio.Event()
    while behaviour == "wait" and not path.with_suffix(".go").exists():
        await asyncio.sleep(0.01)

    async def open_port(request: bytes, context: Any) -> bytes:
        if behaviour == "die":
            os._exit(4)
        return b""

    async def tell(request: bytes, context: Any) -> bytes:
        return b""

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((worker_handlers({"Open": open_port, "Status": tell, "Metrics": tell}),))
    server.add_insecure_port(socket_address(path))
    await server.start()
    asyncio.get_running_loop().add_reader(0, has_ended.set)
    await has_ended.wait()
    await server.stop(0)


def main() -> int:
    """Behave as told until the parent is gone."""
    path, behaviour = Path(sys.argv[1]), sys.argv[3]
    if behaviour in EXIT_CODES:
        return EXIT_CODES[behaviour]
    asyncio.run(_serve(path, behaviour))
    return 0


if __name__ == "__main__":
    sys.exit(main())
