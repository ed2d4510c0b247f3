"""How many threads numpy's products take: as many as a process is told, not as many as the machine has cores.

On a busy machine a product that is dealt out over the cores waits, spinning, for the slowest of them: up to 4.1 ms of
CPU in place of .2 for the vectors of 20,000 items. And sums depend on the machine.
"""

from __future__ import annotations

from threadpoolctl import threadpool_limits


def limit_blas_threads(num_threads: int) -> None:
    """Have every BLAS that is loaded by now take at most so many threads, in this process and for good."""
    threadpool_limits(limits=num_threads, user_api="blas")
