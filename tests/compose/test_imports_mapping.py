"""A mapping in `headrace.yaml` says which column is which field; what it cannot mean is refused with the mend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from compose.imports.mapping import load_mapping, load_mappings
from compose.imports.shipped import SHIPPED
from features.config import ConfigError, load_app_config
from tests.compose.events_files import mapping_options, read, write_csv, write_jsonl
from tests.compose.small_stack import ROOT

SHOP: dict[str, Any] = {"user_id": "who", "item_id": "what", "action": "did", "event_time": "at"}


def config_with(folder: Path, **imports: Any) -> Path:
    """A configuration with these mappings."""
    data = {"actions": {"click": {"outcome": "positive"}}, "imports": imports}
    path = folder / "headrace.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.mark.parametrize("name", list(SHIPPED))
def test_shipped_mappings_lead_to_shipped_actions(name: str, tmp_path: Path) -> None:
    """`--mapping NAME` works with the `headrace.yaml` of this repository."""
    mapping = load_mapping(config_with(tmp_path), name)
    declared = load_app_config(ROOT / "headrace.yaml").actions
    assert {*mapping.actions.values(), *filter(None, [mapping.default_action])} <= set(declared)


def test_a_mapping_of_one_s_own_is_found_by_name(tmp_path: Path) -> None:
    """One path or several, short or long times."""
    mapping = load_mapping(config_with(tmp_path, shop={**SHOP, "user_id": ["who", "cookie"]}), "shop")
    assert (mapping.user_id, mapping.event_time.path, mapping.event_time.unit) == (("who", "cookie"), ("at",), "ms")


def test_a_mapping_can_change_a_shipped_one(tmp_path: Path) -> None:
    """Actions and context are merged, everything else is replaced."""
    own = {"based_on": "ga4", "actions": {"add_to_cart": "cart", "share": "like"}, "value": "ecommerce.revenue"}
    mapping = load_mapping(config_with(tmp_path, shop=own), "shop")
    assert mapping.actions == {**SHIPPED["ga4"]["actions"], "add_to_cart": "cart", "share": "like"}
    assert (mapping.value, mapping.explode) == (("ecommerce.revenue",), "items")


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({**SHOP, "usr_id": "x"}, "unknown key 'usr_id' (did you mean 'user_id'?)"),
        ({**SHOP, "event_time": {"path": "at", "units": "s"}}, "unknown key 'event_time.units' (did you mean 'unit'?)"),
        ({**SHOP, "event_time": {"path": "at", "unit": "m"}}, "event_time.unit"),
        ({**SHOP, "event_time": {"path": "at", "zone": "Atlantis"}}, "'Atlantis' is no time zone"),
        ({**SHOP, "item_id": "items[]"}, "'items[]' is not a path"),
        ({**SHOP, "action": []}, "give `action` (a column) or `default_action`"),
        ({"user_id": "who"}, "item_id: Field required"),
        ({"based_on": "ga3"}, "no shipped mapping 'ga3' (did you mean 'ga4'?)"),
        ({"based_on": ["ga4"]}, "no shipped mapping ['ga4'] (did you mean 'ga4'?)"),
        ("who", "must be a mapping with user_id"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused(own: Any, said: str, tmp_path: Path) -> None:
    """With its place and the nearest known name, also by `headrace up`."""
    path = config_with(tmp_path, shop=own)
    with pytest.raises(ConfigError) as refused:
        load_mapping(path, "shop")
    assert f"{path}: imports.shop" in str(refused.value)
    assert said in str(refused.value)
    with pytest.raises(ConfigError):
        load_mappings(path)


def test_an_unknown_mapping_is_named_with_the_nearest(tmp_path: Path) -> None:
    """Among the app's own and the shipped ones."""
    with pytest.raises(ConfigError, match=r"no mapping 'segmnt' under `imports` \(did you mean 'segment'\?\)"):
        load_mapping(config_with(tmp_path, shop=SHOP), "segmnt")


TIMES = [
    ({"unit": "s"}, 1706700000.25, 1_706_700_000_250),
    ({"unit": "s"}, "1706700000", 1_706_700_000_000),
    ({"unit": "us"}, 1_706_700_000_123_456, 1_706_700_000_123),
    ({"unit": "ns"}, "1706700000123456789", 1_706_700_000_123),
    ({"unit": "iso"}, "2024-01-31T11:20:00Z", 1_706_700_000_000),
    ({"unit": "iso", "zone": "Europe/Berlin"}, "2024-01-31T12:20:00", 1_706_700_000_000),
    ({"format": "%d.%m.%Y %H:%M"}, "31.01.2024 11:20", 1_706_700_000_000),
]


@pytest.mark.parametrize(("how", "cell", "expected"), TIMES)
def test_times_are_read_as_the_mapping_says(how: dict[str, str], cell: Any, expected: int, tmp_path: Path) -> None:
    """Units since 1970, ISO 8601, any pattern, and the zone of times that name none."""
    row = {"user_id": "u", "item_id": "i", "action": "click", "at": cell}
    options = mapping_options(event_time={"path": "at", **how})
    [event], _ = read(write_jsonl(tmp_path / "e.jsonl", [row]), options)
    assert event.event_time_ms == expected


def test_a_column_that_is_named_like_a_path_wins(tmp_path: Path) -> None:
    """Flattened CSV files have dots in their names; JSON in a cell is looked into."""
    row = {"user.id": "u", "item_id": "i", "action": "click", "event_time_ms": 5, "more": '{"page": {"path": "/a"}}'}
    options = mapping_options(user_id="user.id", context={"page": "more.page.path"})
    [event], _ = read(write_csv(tmp_path / "e.csv", [row]), options)
    assert (event.user_id, event.context) == ("u", {"page": "/a"})


def test_a_list_of_plain_ids_can_be_exploded(tmp_path: Path) -> None:
    """The element itself is the item; a long event id stays an id."""
    row = {"user_id": "u", "items": ["a", "b"], "action": "click", "event_time_ms": 5, "event_id": "x" * 128}
    events, _ = read(write_jsonl(tmp_path / "e.jsonl", [row]), mapping_options(explode="items", item_id="items"))
    assert [event.item_id for event in events] == ["a", "b"]
    assert {len(event.event_id) for event in events} == {32}
