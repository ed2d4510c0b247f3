"""What can go wrong while a file is evaluated.

ConfigError
├── EvaluationError        a file, a column, a row or an option cannot be used
└── MissingPackageError    a baseline needs a package that is not installed
"""

from __future__ import annotations

from features.config import ConfigError


class EvaluationError(ConfigError):
    """Expected: what was given cannot be evaluated; the message names the file, the column and the mend."""


class MissingPackageError(ConfigError):
    """Expected: an optional package is not installed; the message says how to get it."""
