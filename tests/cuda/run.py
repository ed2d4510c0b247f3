"""`make test-cuda`: the laws of tests/cuda/test_weights.py with torch, numpy and safetensors alone, without pytest."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from pathlib import Path

# Run as a file, so the checkout must be put on the path first. Hence E402 below.
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

try:
    import numpy  # noqa: F401
    import safetensors  # noqa: F401
    import torch
except ImportError as error:
    sys.exit(
        f"{sys.executable} has no {error.name}; name one that has torch, numpy and safetensors: PYTHON=/path/of/it"
    )

from tests.cuda import test_weights  # noqa: E402
from tests.cuda.recorded import batches  # noqa: E402


def main() -> int:
    """Run every law; exit code 1 where one does not hold, 0 also where there is no device to hold it on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu to try the laws without a GPU")
    parser.add_argument("--recording", type=Path, help="of tests/bench/record_batches.py; seeded batches by default")
    options = parser.parse_args()
    laws = [getattr(test_weights, name) for name in dir(test_weights) if name.startswith("test_")]
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print(f"SKIPPED {len(laws)} tests: torch {torch.__version__} sees no CUDA device")
        return 0
    name = torch.cuda.get_device_name(options.device) if options.device != "cpu" else "CPU"
    print(f"{name}, torch {torch.__version__}")
    torch.set_num_threads(1)  # As the trainer does: sums on the CPU must not depend on the machine.
    recorded, failed = batches(options.recording), 0
    for law in laws:
        began_s = time.perf_counter()
        try:
            law(recorded, options.device)
        except Exception:
            failed += 1
            print(f"FAILED {law.__name__}\n{traceback.format_exc()}")
        else:
            print(f"passed {law.__name__} ({time.perf_counter() - began_s:.1f} s)")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
