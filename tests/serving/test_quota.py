"""Laws of quotas, whether buckets are of one process or shared by several."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.quota import Bucket, Buckets, LocalBuckets, Quota
from serving.workers.shared_buckets import _SLOTS, SharedBuckets

ROOT = Path(__file__).parents[2]
TAKE = """
import sys
from pathlib import Path
from serving.quota import Quota
from serving.workers.shared_buckets import SharedBuckets
quota = Quota(3000.0, 1.0, SharedBuckets(Path(sys.argv[1])), lambda: 0.0)
print("ready", flush=True)
sys.stdin.readline()
print(sum(quota.take("one") == 0.0 for _ in range(1500)))
"""


@pytest.fixture(params=["local", "shared"])
def buckets(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Buckets]:
    """Both kinds."""
    if request.param == "local":
        yield LocalBuckets()
        return
    shared = SharedBuckets(tmp_path / "quotas")
    yield shared
    shared.close()


def test_quota_is_a_matter_of_the_token(buckets: Buckets) -> None:
    """Two at once, then one every half second; another token has its own."""
    now_s = 0.0
    quota = Quota(2.0, 1.0, buckets, lambda: now_s)
    assert [quota.take("one"), quota.take("one"), quota.take("one")] == [0.0, 0.0, 0.5]
    assert quota.take("two") == 0.0
    now_s = 0.5
    assert [quota.take("one"), quota.take("one") > 0.0] == [0.0, True]


def test_bucket_is_never_fuller_than_its_size(buckets: Buckets) -> None:
    """An hour of silence gives no more than a burst."""
    now_s = 0.0
    quota = Quota(2.0, 1.0, buckets, lambda: now_s)
    quota.take("one")
    now_s = 3600.0
    assert [quota.take("one") == 0.0 for _ in range(3)] == [True, True, False]


def test_workers_share_one_bucket(tmp_path: Path) -> None:
    """Four processes at once let in exactly what the token has, though they ask for twice as much."""
    command = [sys.executable, "-c", TAKE, str(tmp_path / "quotas")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    workers = [subprocess.Popen(command, **pipes) for _ in range(4)]  # type: ignore[call-overload]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    assert sum(int(worker.communicate()[0]) for worker in workers) == 3000


def test_full_set_forgets_the_token_least_lately_seen(tmp_path: Path) -> None:
    """Others keep what they have."""
    shared = SharedBuckets(tmp_path / "quotas")
    keys = [bytes(4) + bytes([number + 1] * 12) for number in range(_SLOTS + 1)]
    for number, key in enumerate(keys):
        shared.write(key, Bucket(float(number), float(number)))
    found = [shared.read(key) for key in keys]
    shared.close()
    assert found == [None, *(Bucket(float(number), float(number)) for number in range(1, _SLOTS + 1))]


def test_half_written_bucket_is_a_full_one(tmp_path: Path) -> None:
    """A worker killed in the middle of a write locks no token out."""
    shared = SharedBuckets(tmp_path / "quotas")
    quota = Quota(2.0, 1.0, shared, lambda: 0.0)
    key = bytes([7] * 16)
    shared.write(key, Bucket(float("nan"), 0.0))
    assert (shared.read(key), quota.take("one")) == (None, 0.0)
    shared.close()
