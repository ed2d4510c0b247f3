"""Products take the threads that they are told to."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.running_stack import ROOT

SCRIPT = """
import numpy
from threadpoolctl import threadpool_info
from features.blas_threads import limit_blas_threads
limit_blas_threads(1)
blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
print(bool(blas), set(blas) == {1})
"""


def test_every_blas_of_the_process_is_limited() -> None:
    """Also where the environment says two, as it does on a machine of two cores that says nothing."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert ran.stdout.split() == ["True", "True"]
