"""Measured unit costs: what `unit_costs.yaml`, or a file of one's own, says that one unit of work takes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from pydantic import Field

from features.config import ConfigError, StrictConfig, nearest_name, validate
from features.yaml_file import parse_yaml

SHIPPED = Path(__file__).with_name("unit_costs.yaml")


class UnitCost(StrictConfig):
    """One measured cost."""

    value: float = Field(gt=0)
    unit: str
    command: str
    """Prints it."""
    date: date
    machine: str
    note: str = ""
    """What it covers, and what not."""


class UnitCosts(StrictConfig):
    """Every cost that `headrace plan` computes from."""

    feature_job_us_an_event: UnitCost
    feature_job_bytes_a_user: UnitCost
    sample_job_us_a_row: UnitCost
    sample_job_bytes_a_list: UnitCost
    ingester_us_a_row: UnitCost
    redis_us_a_row: UnitCost
    redis_bytes_a_user: UnitCost
    trainer_us_a_sample: UnitCost
    trainer_us_a_neutral_event: UnitCost
    trainer_bytes_a_user: UnitCost
    trainer_bytes_an_item: UnitCost
    serving_us_a_request: UnitCost
    serving_us_an_item: UnitCost
    serving_busy_share: UnitCost
    serving_mb_a_process: UnitCost
    model_bytes_an_item: UnitCost
    delta_bytes: UnitCost
    event_bytes: UnitCost
    served_bytes_an_item: UnitCost

    def __getitem__(self, name: str) -> float:
        """Return the number of a cost."""
        cost: UnitCost = getattr(self, name)
        return cost.value


def load_unit_costs(path: Path | None = None) -> UnitCosts:
    """Read the shipped costs, and in their place those that a file of one's own names.

    Raises:
        ConfigError: a file or an entry cannot be used.
    """
    shipped = _read(SHIPPED)
    own = _read(path) if path else {}
    for name in own:
        if name not in UnitCosts.model_fields:
            raise ConfigError(f"{path}: unknown cost {name!r}{nearest_name(name, tuple(UnitCosts.model_fields))}")
    return validate({**shipped, **own}, UnitCosts, str(path or SHIPPED))


def _read(path: Path) -> Mapping[str, object]:
    try:
        data = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; name another file with --costs") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must map names of costs to value, unit, command, date and machine")
    return {str(name): entry for name, entry in data.items()}
