"""The `features.feature_log` section of `headrace.yaml`."""

from __future__ import annotations

from pydantic import Field

from features.strict_config import StrictConfig


class FeatureLogConfig(StrictConfig):
    """How much of the past is kept for point-in-time reads."""

    enabled: bool = True
    """False writes no log: point-in-time reads then end where it was switched off, and the gap is recorded."""
    flush_s: float = Field(10.0, ge=0.1, le=3600)
    """Seconds until a row can be read from the log. Nothing is at risk meanwhile; shorter means more, smaller files."""
    keep_days: float = Field(60.0, gt=0)
    """Hours older than this are deleted. A time is answered exactly for whom the last row before it is kept."""
    max_gb: float = Field(20.0, gt=0)
    """The oldest hours go early when the log grows beyond this."""
    max_journal_mb: int = Field(1024, ge=16)
    """Rows not yet in parquet files; only a disk that takes no files lets them grow. Beyond it rows go unlogged."""
