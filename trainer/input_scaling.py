"""How ranker inputs are scaled before the first layer, in torch and in numpy alike."""

from __future__ import annotations

INPUT_CLIP = 5.0
"""Standard deviations from the mean beyond which an input counts no more."""
VARIANCE_FLOOR = 1e-4
"""Added to the variance of an input that hardly varies."""
