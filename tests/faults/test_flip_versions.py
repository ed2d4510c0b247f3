"""No version with a turned bit or a cut file is read; ten times as many by `python tests/faults/flip_versions.py`."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from tests.faults.flip_versions import ACCEPTED, cuts_of, flips_of, verdict_on
from tests.trainer.conftest import make_version
from trainer.version_bytes import encode_version


def test_no_flipped_and_no_cut_version_is_read() -> None:
    """1,000 seeded flips over all files, and every 99th length: refused by name, while the whole one is read."""
    whole = encode_version(make_version("1.0", num_items=200, num_users=100))
    assert verdict_on(whole, whole.digest) == ACCEPTED
    flips = Counter(verdict_on(damaged, whole.digest) for damaged in flips_of(whole, 20261130, 1000))
    assert set(flips) == {"file_digest", "manifest_digest"}
    cuts = Counter(verdict_on(damaged, whole.digest) for damaged in islice(cuts_of(whole), 0, None, 99))
    assert set(cuts) == {"file_size", "manifest_digest"}


def test_a_seed_turns_the_same_bits() -> None:
    """What was seen once is seen again."""
    whole = encode_version(make_version("1.0", num_items=200, num_users=100))
    assert list(flips_of(whole, 7, 20)) == list(flips_of(whole, 7, 20)) != list(flips_of(whole, 8, 20))
