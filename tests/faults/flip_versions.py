"""Damage a version in every way that bits can be: `python tests/faults/flip_versions.py --flips 10000 --seed 1`.

The version lies as bytes, as in a store, and is read as a server reads it, against the digest that was announced. One
bit is turned at a time; which file, which byte and which bit are functions of the seed, and a tenth falls into the
first 200 bytes, where lengths and names stand. Then each file is cut at every length. All must be refused with a
reason. Exit code 1 where one was accepted, or ended in another error. Deltas: `tests/serving/test_version_corpus.py`.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

# Run as a file, so the checkout must be put on the path first. Hence E402 below.
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.trainer.conftest import make_version  # noqa: E402
from trainer.errors import VersionError  # noqa: E402
from trainer.model_version import MANIFEST_NAME  # noqa: E402
from trainer.version_bytes import VersionBytes, decode_version, encode_version  # noqa: E402

ACCEPTED = "ACCEPTED"
_HEAD_BYTES, _HEAD_SHARE = 200, 0.1


def flips_of(version: VersionBytes, seed: int, flips: int) -> Iterator[VersionBytes]:
    """Yield the version with one bit turned, again and again; files are drawn by their size, each at times."""
    draw = random.Random(seed)
    contents = {**version.files, MANIFEST_NAME: version.manifest}
    names, sizes = list(contents), [max(len(content), 2000) for content in contents.values()]
    for name in draw.choices(names, sizes, k=flips):
        data = bytearray(contents[name])
        end = min(_HEAD_BYTES, len(data)) if draw.random() < _HEAD_SHARE else len(data)
        data[draw.randrange(end)] ^= 1 << draw.randrange(8)
        yield _with(version, name, bytes(data))


def cuts_of(version: VersionBytes) -> Iterator[VersionBytes]:
    """Yield the version with one of its files cut, at every length."""
    for name, content in {**version.files, MANIFEST_NAME: version.manifest}.items():
        for length in range(len(content)):
            yield _with(version, name, content[:length])


def verdict_on(damaged: VersionBytes, announced: str) -> str:
    """Return the reason by which a version is refused, `ACCEPTED`, or the error that it should not have ended in."""
    try:
        decode_version(damaged.version, damaged.read_file, announced)
    except VersionError as error:
        return error.reason
    except Exception as error:  # Nothing else may come out of a damaged version: that is what is looked for.
        return f"{ACCEPTED} or worse: {type(error).__name__}"
    return ACCEPTED


def _with(version: VersionBytes, name: str, content: bytes) -> VersionBytes:
    if name == MANIFEST_NAME:
        return replace(version, manifest=content)
    return replace(version, files={**version.files, name: content})


def main(arguments: Sequence[str] | None = None) -> int:
    """Damage a version as often as asked; return 1 where one was not refused by name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=10_000, help="bits to turn, one at a time (10000)")
    parser.add_argument("--seed", type=int, default=1, help="of what is turned (1)")
    options = parser.parse_args(arguments)
    started_s, whole = time.monotonic(), encode_version(make_version("1.0", num_items=200, num_users=100))
    assert verdict_on(whole, whole.digest) == ACCEPTED
    not_refused = 0
    for kind, damaged in (("flips", flips_of(whole, options.seed, options.flips)), ("cuts", cuts_of(whole))):
        verdicts = Counter(verdict_on(each, whole.digest) for each in damaged)
        accepted = sum(count for verdict, count in verdicts.items() if verdict.startswith(ACCEPTED))
        reasons = ", ".join(f"{count} {reason}" for reason, count in verdicts.most_common())
        print(f"{verdicts.total()} {kind} of {whole.size} bytes, seed {options.seed}: {accepted} accepted ({reasons})")
        not_refused += accepted
    print(f"{time.monotonic() - started_s:.1f} s")
    return 1 if not_refused else 0


if __name__ == "__main__":
    sys.exit(main())
