"""The doctor looks at a running deployment too, and every finding that is not well has its mend."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from compose.doctor import Finding
from compose.doctor_running import (
    MAX_LAG,
    check_certificate,
    check_clock,
    check_lag,
    check_schema,
    check_secrets,
    check_versions,
    examine_running,
)
from compose.pem_expiry import expires_at
from features.config import load_endpoints
from tests.compose.test_cli import endpoints_file
from tests.running_stack import ROOT, RunningStack, wait_for
from tests.serving.secure_parts import make_certificates
from tests.trainer.conftest import make_version
from trainer.version_files import write_version
from trainer.version_store import LocalVersions


def ms(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return int(moment.timestamp() * 1000)


@pytest.mark.parametrize(
    ("live", "is_following", "age_ms", "is_ok"),
    [
        ("3.9", True, 500_000, True),
        ("3.2", True, 500_000, False),
        ("3.2", True, 5_000, True),
        ("3.2", False, 500_000, True),
        ("", True, 500_000, False),
    ],
)
def test_a_server_that_does_not_follow_is_told(live: str, is_following: bool, age_ms: int, is_ok: bool) -> None:
    """One that a person pinned is well, and so is one that has had no time yet."""
    server = {"model_version": live, "is_following": is_following}
    finding = check_versions(server, {"version": "3.7"}, 1_000_000, 1_000_000 + age_ms)
    assert (finding.is_ok, bool(finding.mend)) == (is_ok, not is_ok)


@pytest.mark.parametrize(("apart_ms", "said"), [(9_000, "behind"), (-9_000, "ahead of")])
def test_a_clock_that_goes_wrong_is_told(apart_ms: int, said: str) -> None:
    """By the list that was on its way for the shortest time; a slow one alone proves nothing."""
    pairs = [(apart_ms + wait_ms, 0) for wait_ms in (10, 400, 2_000)]
    wrong = check_clock([(1_000_000 + broker_ms, 1_000_000) for broker_ms, _ in pairs], skew_s=5.0)
    assert (wrong.is_ok, said in wrong.detail, "NTP" in wrong.mend) == (False, True, True)
    assert check_clock([(1_000_020, 1_000_000), (1_009_000, 1_000_000)], skew_s=5.0).is_ok
    assert check_clock([], skew_s=5.0).is_ok


def test_another_schema_is_told(tmp_path: Path) -> None:
    """By the newest snapshot of the store."""
    write_version(tmp_path, make_version("1.0"))
    store = LocalVersions(tmp_path)
    found = store.manifest("1.0").feature_schema_hash
    assert check_schema(store, found).is_ok
    finding = check_schema(store, "other")
    assert (finding.is_ok, "streams upgrade" in finding.mend) == (False, True)
    assert check_schema(LocalVersions(tmp_path / "none"), "any").is_ok


def test_records_that_wait_are_told() -> None:
    """Part by part."""
    assert check_lag({"ingester": 5, "trainer": MAX_LAG}).is_ok
    finding = check_lag({"ingester": 5, "trainer": MAX_LAG + 1})
    assert (finding.is_ok, f"trainer {MAX_LAG + 1:,}" in finding.detail) == (False, True)


def test_a_certificate_that_ends_soon_is_told(tmp_path: Path) -> None:
    """Three weeks before, and as expired afterwards; the time is the one that openssl reads from it."""
    path = make_certificates(tmp_path, days=40).path("server.pem")
    words = ["openssl", "x509", "-in", str(path), "-noout", "-enddate"]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip().partition("=")[2]
    ends = datetime.strptime(told, "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC)
    assert expires_at(path) == ends
    assert check_certificate(path, ms(ends - timedelta(days=30))).is_ok
    soon = check_certificate(path, ms(ends - timedelta(days=12)))
    assert (soon.is_ok, "in 12 days" in soon.detail, "renew" in soon.mend) == (False, True, True)
    assert "expired 2 days ago" in check_certificate(path, ms(ends + timedelta(days=2))).detail
    assert check_certificate(None, 0).is_ok


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"])
def test_a_file_that_is_no_certificate_is_told(text: str, tmp_path: Path) -> None:
    """Nor is one that is not there."""
    path = tmp_path / "server.pem"
    assert not check_certificate(path, 0).is_ok
    path.write_text(text)
    finding = check_certificate(path, 0)
    assert (finding.is_ok, "holds no" in finding.detail) == (False, True)


def test_secrets_that_others_can_read_are_told(tmp_path: Path) -> None:
    """Those that are not there harm nobody."""
    secret = tmp_path / "admin.token"
    secret.write_text("x")
    secret.chmod(0o600)
    assert check_secrets([secret, tmp_path / "none"]).is_ok
    secret.chmod(0o640)
    finding = check_secrets([secret])
    assert (finding.is_ok, f"chmod 600 {secret}" in finding.mend) == (False, True)


def test_kafka_that_is_away_is_a_finding(tmp_path: Path) -> None:
    """The other checks go on."""
    findings = examine_running(ROOT / "headrace.yaml", load_endpoints(endpoints_file(tmp_path)), 0)
    assert [finding.name for finding in findings if not finding.is_ok] == ["kafka"]
    assert all(finding.mend for finding in findings if not finding.is_ok)


@pytest.mark.stack
def test_a_stack_that_is_well_has_no_findings(stack: RunningStack) -> None:
    """Every check asks the real thing."""

    def healthy() -> list[Finding] | None:
        found = examine_running(stack.config_path, stack.endpoints, ms(datetime.now(UTC)))
        return found if all(finding.is_ok for finding in found) else None

    names = [finding.name for finding in wait_for(healthy, "a stack that is well")]
    assert names == ["versions", "clock", "schema", "jobs", "lag", "tls", "secrets"]
