"""Tests mirror the packages. A package of its own: some third party installs a `tests`, which would win otherwise."""
