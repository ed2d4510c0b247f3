"""Whole logs on the real stack, held against plain Python. A package, so that its stack ends with its last test."""
