"""Where versions are kept is checked at the start, and keys are never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.config import ConfigError, Endpoints, load_section
from features.model_store_config import ModelStoreConfig, StoreUri, masked, split_uri

SECRET = "p/lanted+secret"


def section(tmp_path: Path, text: str) -> ModelStoreConfig:
    """Load a `model_store` section."""
    path = tmp_path / "headrace.yaml"
    path.write_text(f"actions: {{like: {{outcome: positive}}}}\nmodel_store: {text}\n", encoding="utf-8")
    return load_section(path, "model_store", ModelStoreConfig)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/var/models", StoreUri("file", "/var/models")),
        ("file:///var/models", StoreUri("file", "/var/models")),
        ("memory://a/b/", StoreUri("memory", "a/b")),
        ("s3://bucket", StoreUri("s3", "bucket")),
        ("s3://bucket/a/b/", StoreUri("s3", "bucket/a/b")),
    ],
)
def test_addresses_are_taken_apart(uri: str, expected: StoreUri) -> None:
    """A path needs no scheme."""
    assert split_uri(uri) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{uri: 'gs://bucket/a'}", r"'gs://bucket/a' is of a kind that is not known; write /a/directory"),
        ("{uri: 's3://'}", r"'s3://' names no bucket; write s3://bucket/prefix"),
        ("{uri: 's3://Bucket_1/a'}", "names no bucket"),
        ("{uri: 'file://host/a'}", "names a host"),
        ("{uri: models}", "'models' is no whole path"),
        ("{uri: 'memory://a'}", "seen by one process alone"),
        ("{endpoint_url: storage}", "'storage' is no address"),
        ("{access_key_env: A_KEY}", "access_key_env and secret_key_env need each other"),
        ("{buckets: a}", r"unknown key 'buckets'"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_mend(tmp_path: Path, text: str, said: str) -> None:
    """At the start, one sentence each."""
    with pytest.raises(ConfigError, match=said):
        section(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        f"{{uri: 's3://user:{SECRET}@bucket/a'}}",
        f"{{uri: 's3://bucket/a?secret={SECRET}'}}",
        f"{{endpoint_url: 'https://user:{SECRET}@host'}}",
        f"{{access_key_env: A_KEY, secret_key_env: '{SECRET}'}}",
    ],
)
def test_keys_in_the_file_are_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    """No part of the sentence holds them."""
    with pytest.raises(ConfigError) as caught:
        section(tmp_path, text)
    assert not any(part in str(caught.value) for part in ("lanted", SECRET))


def test_keys_come_from_the_environment_and_stay_out_of_the_config() -> None:
    """The config knows the names of variables; one that is not set is told."""
    config = ModelStoreConfig(access_key_env="A_KEY", secret_key_env="A_SECRET")
    assert config.credentials({"A_KEY": "k", "A_SECRET": SECRET}) == {"key": "k", "secret": SECRET}
    assert SECRET not in repr(config)
    with pytest.raises(ConfigError, match=r"model_store\.secret_key_env names a variable A_SECRET that is not set"):
        config.credentials({"A_KEY": "k"})
    assert ModelStoreConfig().credentials({}) == {}


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://user:word@bucket/a", "s3://***@bucket/a"),
        ("s3://bucket/a?secret=word", "s3://bucket/a?***"),
        ("s3://bucket?secret=word", "s3://bucket?***"),
        ("s3://user:word@", "s3://***@"),
        ("/var/models", "/var/models"),
    ],
)
def test_addresses_are_shown_without_credentials(uri: str, expected: str) -> None:
    """User, password and query are hidden."""
    assert masked(uri) == expected


def test_the_section_comes_before_the_endpoints_file() -> None:
    """Without it the endpoints say where."""
    endpoints = Endpoints(kafka="", redis="", model_store="/state/models", state="/state")
    assert ModelStoreConfig().uri_of(endpoints) == "/state/models"
    assert ModelStoreConfig(uri="s3://bucket/a").uri_of(endpoints) == "s3://bucket/a"
