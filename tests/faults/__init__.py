"""Faults made on purpose: parts killed in the middle of a write, full disks, flipped bits."""
