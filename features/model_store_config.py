"""The `model_store` section of `headrace.yaml`: where whole versions of the model are kept, and how it is reached."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from features.config import ConfigError, Endpoints
from features.strict_config import StrictConfig

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CREDENTIALS = {"access_key_env": "key", "secret_key_env": "secret", "session_token_env": "token"}
"""Setting -> what the S3 driver calls it."""
_KNOWN = "/a/directory, file:///a/directory or s3://bucket/prefix"


class StoreUri(NamedTuple):
    """A model store's address, taken apart."""

    scheme: Literal["file", "memory", "s3"]
    path: str
    """Directory, or `bucket/prefix`."""


class ModelStoreConfig(StrictConfig):
    """Where snapshots are; deltas travel on a topic."""

    uri: str = ""
    """`/a/directory`, `file:///a/directory` or `s3://bucket/prefix`; empty: `models` in the state directory, or what
    the endpoints file says. S3 needs its driver: the extra `headrace[s3]`."""
    endpoint_url: str = ""
    """Of an S3-compatible store, `https://host:port`; empty: `AWS_ENDPOINT_URL`, else Amazon's."""
    region: str = ""
    """Of the bucket; empty: as the environment says."""
    access_key_env: str = ""
    """Name of the environment variable that holds the access key; empty: the driver's own search (`AWS_*` variables,
    profile, role of the machine). Keys themselves never stand in this file."""
    secret_key_env: str = ""
    """Name of the one with the secret key; goes with `access_key_env`."""
    session_token_env: str = ""
    """Name of the one with a session token, where the keys are temporary."""
    cached_snapshots: int = Field(3, ge=1, le=1000)
    """Newest verified snapshots of a store that is no directory which a server keeps in `STATE/model_cache`, beside
    the one that it serves from and those that orders and experiments rest on: it starts with them when the store is
    away."""
    look_s: float = Field(30.0, gt=0, le=3600)
    """How often a server lists such a store, beside every announcement."""

    @field_validator("uri")
    @classmethod
    def _is_an_address(cls, uri: str) -> str:
        if uri and split_uri(uri).scheme == "memory":
            raise ValueError(f"{uri!r:.80} is seen by one process alone; write {_KNOWN}")
        if uri and "://" not in uri and not uri.startswith("/"):
            raise ValueError(f"{uri!r:.80} is no whole path; write {_KNOWN}")
        return uri

    @field_validator("endpoint_url")
    @classmethod
    def _is_a_web_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError(f"{masked(url)!r:.80} is no address; write for example https://storage.example:9000")
        if "@" in url or "?" in url:
            raise ValueError(f"{masked(url)!r:.80} holds credentials; name their variables in access_key_env and so on")
        return url

    @field_validator(*_CREDENTIALS)
    @classmethod
    def _names_a_variable(cls, name: str) -> str:
        if name and not _VARIABLE.fullmatch(name):  # It may be the secret itself: nothing of it is said.
            raise ValueError("is no name of an environment variable; keys themselves do not belong into this file")
        return name

    @model_validator(mode="after")
    def _keys_come_in_pairs(self) -> ModelStoreConfig:
        if bool(self.access_key_env) != bool(self.secret_key_env):
            raise ValueError("access_key_env and secret_key_env need each other; name both variables, or neither")
        return self

    def uri_of(self, endpoints: Endpoints) -> str:
        """Return the address of the store."""
        return self.uri or endpoints.model_store

    def credentials(self, environment: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return what the named variables hold, by the driver's names; never to be shown.

        Raises:
            ConfigError: one of them is not set.
        """
        environment = os.environ if environment is None else environment
        found: dict[str, str] = {}
        for setting, name in _CREDENTIALS.items():
            variable = getattr(self, setting)
            if variable and not environment.get(variable):
                told = f"{variable} " if "_" in variable else ""  # Else it may be a key that was put there.
                raise ConfigError(f"model_store.{setting} names a variable {told}that is not set; export it")
            if variable:
                found[name] = environment[variable]
        return found


def split_uri(uri: str) -> StoreUri:
    """Take a store's address apart.

    Raises:
        ValueError: it is none that can be opened; the sentence holds no credentials.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return StoreUri("file", uri)
    shown = f"{masked(uri)!r:.120}"
    if "@" in rest or "?" in rest:
        raise ValueError(
            f"{shown} holds credentials or options; name variables in model_store.access_key_env and so on"
        )
    if scheme == "file":
        if not rest.startswith("/"):
            raise ValueError(f"{shown} names a host, or no whole path; write file:///a/directory")
        return StoreUri("file", rest)
    if scheme == "memory":
        return StoreUri("memory", rest.strip("/"))
    if scheme != "s3":
        raise ValueError(f"{shown} is of a kind that is not known; write {_KNOWN}")
    bucket, _, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(f"{shown} names no bucket; write s3://bucket/prefix, the bucket in small letters and digits")
    return StoreUri("s3", f"{bucket}/{prefix}".strip("/"))


def masked(uri: str) -> str:
    """Return an address for people: without user, password and query."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return uri
    place, question, _ = rest.partition("?")
    if "@" in place:  # A secret may hold slashes.
        place = f"***@{place.rpartition('@')[2]}"
    return f"{scheme}://{place}{'?***' if question else ''}"
