"""Mappings for files that apps already have; each can be used by name, or as `based_on` of an app's own.

Formats: Google Analytics 4 export to BigQuery (events_YYYYMMDD tables as parquet or JSON lines); Segment spec, `track`
calls as JSON lines; Amazon Personalize, item interactions data set as CSV.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NATIVE = "headrace"
"""The mapping of files that have the fields of `headrace.events.v1`."""

_HEADRACE: Mapping[str, Any] = {
    "user_id": "user_id",
    "item_id": "item_id",
    "action": "action",
    "event_time": "event_time_ms",
    "value": "value",
    "event_id": "event_id",
    "request_id": "request_id",
    "request_token": "request_token",
    "session_id": "session_id",
    "context_map": "context",
}

_GA4: Mapping[str, Any] = {
    "user_id": ["user_id", "user_pseudo_id"],
    "explode": "items",
    "item_id": ["items.item_id"],
    "action": "event_name",
    "event_time": {"path": "event_timestamp", "unit": "us"},
    "value": ["items.price"],
    "session_id": "event_params[ga_session_id]",
    "context": {
        "page": "event_params[page_location]",
        "device": "device.category",
        "country": "geo.country",
        "platform": "platform",
        "list": ["items.item_list_name", "items.item_list_id"],
        "transaction": "ecommerce.transaction_id",
    },
    "actions": {
        "view_item": "view",
        "select_item": "click",
        "add_to_cart": "like",
        "add_to_wishlist": "like",
        "purchase": "purchase",
    },
    "other_actions": "skip",
    # Without consent there is no user; most events of a page have no items.
    "skip_missing": ["user_id", "item_id"],
    "missing_values": ["(not set)"],
}

_SEGMENT: Mapping[str, Any] = {
    "where": {"type": "track"},
    "user_id": ["userId", "anonymousId"],
    "explode": "properties.products",
    "item_id": [
        "properties.products.product_id",
        "properties.products.sku",
        "properties.product_id",
        "properties.sku",
    ],
    "action": "event",
    "event_time": {"path": ["timestamp", "originalTimestamp", "receivedAt"], "unit": "iso"},
    "value": ["properties.products.price", "properties.price"],
    "event_id": "messageId",
    "session_id": "context.sessionId",
    "context": {
        "page": ["context.page.path", "properties.url"],
        "device": ["context.device.type", "context.os.name"],
        "order": "properties.order_id",
    },
    "actions": {
        "Product Viewed": "view",
        "Product Clicked": "click",
        "Product Added": "like",
        "Product Added to Wishlist": "like",
        "Product Shared": "like",
        "Order Completed": "purchase",
    },
    "other_actions": "skip",
    "skip_missing": ["item_id"],
}

_PERSONALIZE: Mapping[str, Any] = {
    "user_id": "USER_ID",
    "item_id": "ITEM_ID",
    "action": "EVENT_TYPE",
    # An interaction without a type is a positive one: the service learns from nothing else.
    "default_action": "click",
    "event_time": {"path": "TIMESTAMP", "unit": "s"},
    "value": "EVENT_VALUE",
    "context": {"recommendation": "RECOMMENDATION_ID", "device": "DEVICE", "location": "LOCATION"},
    "actions": {
        "View": "view",
        "Click": "click",
        "Watch": "click",
        "watch": "click",
        "Like": "like",
        "AddToCart": "like",
        "Purchase": "purchase",
    },
}

SHIPPED: Mapping[str, Mapping[str, Any]] = {
    NATIVE: _HEADRACE,
    "ga4": _GA4,
    "segment": _SEGMENT,
    "personalize": _PERSONALIZE,
}
