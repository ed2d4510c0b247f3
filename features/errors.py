"""What can go wrong on the way from a feature topic to the online store.

    FeaturesError
    ├── BadRowError          one record cannot be used; it is counted and left out
    ├── FeatureChangedError  a declared feature changed its meaning, or left a service in use
    ├── FeatureLogError      the feature log does not fit the view, or a file of it is damaged
    └── StoreLostError       the store and this writer disagree
        ├── TakenOverError   a newer writer claimed the store
        └── WentBackError    the store lost writes (flushed, restored, started empty)

`features.config.ConfigError` stands beside them: bad configuration never reaches the ingester. So does `StartupError`,
of every part that listens somewhere.
"""

from __future__ import annotations


class StartupError(Exception):
    """Expected: a server cannot start as told; the message names the value and the mend."""


class AddressTakenError(StartupError):
    """Expected: another process listens there."""


class FeaturesError(Exception):
    """Expected: the root of this package's errors."""


class BadRowError(FeaturesError):
    """Expected: a record of a feature topic is not a row of its view; the message says why."""


class FeatureChangedError(FeaturesError):
    """Expected: the configuration would change or remove a feature that readers rely on; the message has the mend."""


class FeatureLogError(FeaturesError):
    """Expected: files of the feature log cannot be used; the message names the file or field and the mend."""


class StoreLostError(FeaturesError):
    """Expected: what the store says of its writer is not what this writer last wrote; claim it again."""


class TakenOverError(StoreLostError):
    """Expected: another ingester claimed the store with a higher epoch; this one must not write."""


class WentBackError(StoreLostError):
    """Unexpected: the store lost this writer's newest writes; rows must be read again from the stored offsets."""
