"""Functions compiled to machine code: loops over candidates and counters that numpy would pay a call an operation for.

The compiled code is kept beside the source (or in `NUMBA_CACHE_DIR`), so only the first start compiles. A function
holds the code of those it calls, and numba looks at its own file only: so the cache is named after all such files.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])
_PREFIX = "compiled-"


def compiled(function: Function) -> Function:
    """Compile a function of arrays and numbers; no reordering of sums, so results equal those of the plain loop."""
    return cast(Function, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def compiled_product(function: Function) -> Function:
    """Compile sums of products whose terms may come in any order, as they do in a BLAS: many of them at once."""
    reordered = {"reassoc", "contract"}
    return cast(Function, numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=reordered)(function))


def cache_folder(package: Path) -> Path:
    """Return where the compiled code of a package lies, as its files that compile anything are now."""
    digest = hashlib.sha256()
    for content in (file.read_bytes() for file in sorted(package.glob("*.py"))):
        if b"features.compiled" in content:
            digest.update(content)
    return package / "__pycache__" / f"{_PREFIX}{digest.hexdigest()[:16]}"


def drop_old_caches(package: Path) -> None:
    """Remove the compiled code of former files of a package."""
    kept = cache_folder(package)
    for folder in kept.parent.glob(f"{_PREFIX}*"):
        if folder != kept:
            shutil.rmtree(folder, ignore_errors=True)


_PACKAGE = Path(__file__).parent
if not numba.config.CACHE_DIR and os.access(_PACKAGE, os.W_OK):  # Else numba finds a place of the user's.
    numba.config.CACHE_DIR = str(cache_folder(_PACKAGE))
