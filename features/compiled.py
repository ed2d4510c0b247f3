"""Functions compiled to machine code: loops over candidates and counters that numpy would pay a call an operation for.

The compiled code is kept beside the source (`__pycache__`, or `NUMBA_CACHE_DIR`), so only the first start compiles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function of arrays and numbers; no reordering of sums, so results equal those of the plain loop."""
    return cast(Function, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
