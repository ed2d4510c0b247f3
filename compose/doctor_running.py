"""What `headrace doctor` looks at in a running deployment: versions, schemas, clocks, lag, certificates, secrets."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compose.changed_jobs import changed_jobs
from compose.doctor import Finding
from compose.errors import StackError
from compose.pem_expiry import expires_at
from compose.state_file import read_state_file
from compose.status import lags_of
from compose.topic_scan import scan_topic
from features.config import AppConfig, Endpoints, load_app_config, load_section
from features.model_inputs import feature_schema_hash
from features.model_store_config import ModelStoreConfig
from features.request_token_config import RequestTokensConfig
from serving.config import ServingConfig
from serving.security.operator_tokens import operator_files
from trainer.model_version import ModelVersion
from trainer.version_files import StoreError, VersionStore, open_versions

MODELS_TOPIC = "headrace.models.v1"
SERVED_TOPIC = "headrace.served.v1"
MAX_LAG = 10_000
"""Records in front of a part: at the demo's rate more than a minute."""
MIN_CERTIFICATE_DAYS = 21.0
_BEHIND_MS = 60_000
"""A server that is behind an announcement for this long does not follow."""
_CLOCKS_OF_MS = 600_000
_MODES = 0o077
"""What group and others may do with a secret: nothing."""


def examine_running(config: Path, endpoints: Endpoints, now_ms: int) -> list[Finding]:
    """Run every check of a running deployment; none of them changes anything.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    app, state = load_app_config(config), Path(endpoints.state)
    serving = load_section(config, "serving", ServingConfig)
    certificate = serving.security.tls.certificate if serving.security.tls else None
    keys = load_section(config, "request_tokens", RequestTokensConfig).keys_path(state)
    secrets = [*operator_files(state).values(), serving.security.tokens_path(state), keys]
    if serving.security.tls:
        secrets.append(serving.security.tls.key)
    findings = _asked_of_kafka(app, endpoints, state, now_ms)
    return [
        *findings,
        _schema_of_store(config, app, endpoints),
        check_jobs(config, endpoints),
        check_lag(lags_of(state)),
        check_certificate(certificate, now_ms),
        check_secrets(secrets),
    ]


def _asked_of_kafka(app: AppConfig, endpoints: Endpoints, state: Path, now_ms: int) -> list[Finding]:
    try:
        announcements = [
            (record.timestamp, json.loads(record.value))
            for record in scan_topic(endpoints.kafka_servers, MODELS_TOPIC)
            if record.value and record.key == app.name.encode()
        ]
        served = scan_topic(endpoints.kafka_servers, SERVED_TOPIC, now_ms - _CLOCKS_OF_MS)
        clocks = [(record.timestamp, json.loads(record.value).get("served_time_ms", 0)) for record in served]
    except StackError as error:
        return [Finding("kafka", False, str(error), "start it, or mend `kafka` in the endpoints file")]
    none: tuple[int, dict[str, Any]] = (0, {})
    newest = max(announcements, key=lambda pair: ModelVersion.parse(pair[1]["version"]), default=none)
    return [
        check_versions(read_state_file(state / "serving.json"), newest[1], newest[0], now_ms),
        check_clock(clocks, app.features.clock_skew_s),
    ]


def check_versions(server: Mapping[str, Any], newest: Mapping[str, Any], announced_ms: int, now_ms: int) -> Finding:
    """Check that the server follows what the trainer announced."""
    live, announced = server.get("model_version", ""), newest.get("version", "")
    if not announced:
        return Finding("versions", True, "none was announced yet")
    if not live:
        mend = "see STATE/logs/server.log; `headrace reload` makes it read the newest version again"
        return Finding("versions", False, f"no version serves, {announced} was announced", mend)
    is_behind = ModelVersion.parse(live) < ModelVersion.parse(announced) and now_ms - announced_ms > _BEHIND_MS
    if is_behind and server.get("is_following"):
        reason = server.get("follow_reason") or "see `headrace models`"
        return Finding("versions", False, f"{live} serves, {announced} was announced: {reason}", "`headrace reload`")
    pinned = "" if server.get("is_following", True) else ", pinned by an order (`headrace unpin` follows again)"
    return Finding("versions", True, f"{live} serves, {announced} is the newest announced{pinned}")


def check_clock(pairs: Iterable[tuple[int, int]], skew_s: float) -> Finding:
    """Check the server's clock against the broker's: the broker stamps a list some milliseconds after the server.

    Args:
        pairs: the broker's time of a served list and the server's, in milliseconds.
        skew_s: what the stream puts up with.
    """
    apart = [broker_ms - server_ms for broker_ms, server_ms in pairs if server_ms]
    if not apart:
        return Finding("clock", True, "no list was served lately, nothing to compare")
    nearest_ms = min(apart, key=abs)
    told = f"the server's clock is within {abs(nearest_ms) / 1e3:.1f} s of the broker's"
    if abs(nearest_ms) <= skew_s * 1e3:
        return Finding("clock", True, told)
    direction = "behind" if nearest_ms > 0 else "ahead of"
    detail = f"the server's clock is {abs(nearest_ms) / 1e3:.1f} s {direction} the broker's, above {skew_s:g}"
    return Finding("clock", False, detail, "run a time service (NTP) on both machines")


def _schema_of_store(config: Path, app: AppConfig, endpoints: Endpoints) -> Finding:
    section = load_section(config, "model_store", ModelStoreConfig)
    try:
        store = open_versions(section.uri or str(Path(endpoints.state) / "models"), app.name, section)
        return check_schema(store, feature_schema_hash(app.features))
    except (StoreError, OSError) as error:
        return Finding("schema", False, f"the model store cannot be read: {error}", "start it, or mend model_store")


def check_schema(store: VersionStore, configured: str) -> Finding:
    """Check that the newest snapshot was learnt on the inputs that the configuration declares."""
    versions = store.versions()
    if not versions:
        return Finding("schema", True, "no snapshot yet")
    newest = str(max(versions))
    found = store.manifest(newest).feature_schema_hash
    if found == configured:
        return Finding("schema", True, f"{newest} and the configuration agree on {configured[:12]}")
    detail = f"{newest} was learnt on schema {found[:12]}, the configuration declares {configured[:12]}"
    return Finding("schema", False, detail, "`headrace streams upgrade`, then restart trainer and server with it")


def check_jobs(config: Path, endpoints: Endpoints) -> Finding:
    """Check that the running Flink jobs were made from the configuration."""
    changed = changed_jobs(config.resolve(), endpoints)
    if not changed:
        return Finding("jobs", True, "no running job is known to be of another configuration")
    detail = f"made from another configuration: the {' and the '.join(changed)} job"
    return Finding("jobs", False, detail, "`headrace streams upgrade` brings it in")


def check_lag(lags: Mapping[str, int]) -> Finding:
    """Check what waits in front of ingester and trainer."""
    late = {name: lag for name, lag in lags.items() if lag > MAX_LAG}
    told = ", ".join(f"{name} {lag:,}" for name, lag in sorted(lags.items())) or "no part told any"
    if not late:
        return Finding("lag", True, told)
    mend = "give the part more of the machine, or see `headrace plan`; docs/runbook.md says how to find the cause"
    return Finding("lag", False, f"records wait: {told}; {MAX_LAG:,} are many", mend)


def check_certificate(path: Path | None, now_ms: int) -> Finding:
    """Check for how long the server's certificate holds."""
    if path is None:
        return Finding("tls", True, "no certificate is configured")
    try:
        left_days = (expires_at(path) - datetime.fromtimestamp(now_ms / 1e3, UTC)).total_seconds() / 86_400.0
    except (OSError, ValueError) as error:
        return Finding("tls", False, str(error), "name a PEM file in serving.security.tls.certificate")
    mend = "" if left_days >= MIN_CERTIFICATE_DAYS else "renew it and restart the server: files are read at the start"
    state = f"expires in {left_days:.0f} days" if left_days > 0 else f"expired {-left_days:.0f} days ago"
    return Finding("tls", not mend, f"{path} {state}", mend)


def check_secrets(paths: Sequence[Path]) -> Finding:
    """Check that files with tokens and keys belong to their user alone."""
    there = [path for path in paths if path.exists()]
    open_ones = [path for path in there if stat.S_IMODE(path.stat().st_mode) & _MODES]
    if not open_ones:
        return Finding("secrets", True, f"{len(there)} files of tokens and keys, of their user alone")
    names = " ".join(str(path) for path in open_ones)
    return Finding("secrets", False, f"others can read {names}", f"chmod 600 {names}, then make new ones")
