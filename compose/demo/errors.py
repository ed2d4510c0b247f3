"""What can go wrong in the demo.

DemoError
└── DataError        the events file or the packaged data set cannot be used
"""

from __future__ import annotations


class DemoError(Exception):
    """Expected: the demo cannot start or go on; the message names what is wrong and the mend."""


class DataError(DemoError):
    """Expected: the events cannot be read or do not fit `headrace.yaml`."""
