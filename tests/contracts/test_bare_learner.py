"""The weights' learner runs on a bare GPU machine: torch, numpy and safetensors, nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

from tests.contracts.test_import_layers import MAY_IMPORT, ROOT, imported_modules

BARE = ("trainer.model", "trainer.embedding_table", "trainer.loss", "trainer.learner", "trainer.recorded_batches")
LIGHT = ("torch", "numpy", "safetensors")
STEP = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[1].split()))  # None: importing it raises.
import numpy as np
import trainer.model, trainer.embedding_table, trainer.loss
from trainer.learner import Learner
from trainer.ranker_learner import LabelledList, ListBatch
from trainer.step_config import StepConfig
learner = Learner(StepConfig(embedding_dim=4), num_inputs=3, num_pre_ranker_inputs=2)
labels = np.array([1, 0], dtype=np.float32)
kinds, positions = np.zeros(2, dtype=np.int8), np.arange(2)
heads = labels.astype(np.int8)[:, None], kinds[:, None]
rows = LabelledList(np.ones((2, 3), dtype=np.float32), labels, labels + 1, kinds, positions, True, *heads, labels + 1)
print("learnt", learner.learn_lists(ListBatch.of_lists([rows]), step=1).is_taken)
"""


def _reachable(module: str) -> set[str]:
    """Return a module of the trainer and all of them that it imports, lazily or not, at any depth."""
    found, left = set(), [module]
    while left:
        name = left.pop()
        path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
        if name not in found and path.is_file():
            found.add(name)
            left += imported_modules(path)
    return found


def _distribution(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _needed(distribution: str, found: set[str]) -> None:
    """Add a distribution and what it requires, at any depth, to `found`."""
    if _distribution(distribution) in found:
        return
    found.add(_distribution(distribution))
    with suppress(PackageNotFoundError):
        for line in requires(distribution) or []:
            if "extra ==" not in line and (match := re.match(r"[\w.-]+", line)):
                _needed(match[0], found)


def test_bare_modules_import_only_light_libraries() -> None:
    """Whatever they reach imports the standard library, torch, numpy, safetensors and the trainer."""
    modules = {name for bare in BARE for name in _reachable(bare)} | {"trainer.errors"}
    roots = {
        name.split(".")[0]
        for module in modules
        for name in imported_modules(ROOT.joinpath(*module.split(".")).with_suffix(".py"))
    }
    assert roots <= {*sys.stdlib_module_names, *LIGHT, "trainer"}
    assert not imported_modules(ROOT / "trainer" / "__init__.py")


def test_cuda_runner_imports_only_light_libraries() -> None:
    """Beside `conftest.py`, which is pytest's, tests/cuda needs torch and the bare modules."""
    files = [path for path in (ROOT / "tests" / "cuda").glob("*.py") if path.name != "conftest.py"]
    modules = {name for path in files for name in imported_modules(path)}
    assert {name.split(".")[0] for name in modules} <= {*sys.stdlib_module_names, *LIGHT, "trainer", "tests"}
    bare = {name for module in BARE for name in _reachable(module)}
    assert {name for module in modules for name in _reachable(module) if name.startswith("trainer.")} <= bare
    assert all(name.startswith("tests.cuda") for name in modules if name.startswith("tests"))


def test_bare_learner_takes_a_step_with_everything_else_blocked() -> None:
    """All that is installed here and that torch does not need itself is out of reach, our other packages too."""
    needed: set[str] = set()
    for name in LIGHT:
        _needed(name, needed)
    installed = packages_distributions().items()
    blocked = {root for root, names in installed if not needed & {_distribution(name) for name in names}}
    blocked |= MAY_IMPORT.keys() - {"trainer"}
    step = subprocess.run(
        [sys.executable, "-c", STEP, " ".join(sorted(blocked))],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert step.stdout == "learnt True\n", step.stderr
