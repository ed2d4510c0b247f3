"""Who features are about."""

from __future__ import annotations

from feast import Entity, ValueType

user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING, description="Someone who uses the app.")
item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.STRING, description="Something the app shows.")
scope = Entity(name="scope", join_keys=["scope"], value_type=ValueType.STRING, description="All events: the id `all`.")
