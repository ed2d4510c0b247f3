"""The user's side of the tower for one list: `trainer.model.user_vector` as one compiled loop.

On twenty items a dozen calls of numpy cost ten times the sums.
Letters: `N` items of the index, `L` history, `D` embedding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.compiled import compiled


@compiled
def query_vector(
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    user_row: NDArray[np.float32],
    index: NDArray[np.float32],
    history_rows: NDArray[np.int64],
    outcomes: NDArray[np.int8],
    recency: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return the vector of a user, (D,).

    Args:
        weight: (D, D) of the history's projection.
        bias: (D,)
        user_row: (D,), empty for a user without a row.
        index: (N, D) item vectors.
        history_rows: (L,) newest first; those that the index does not hold are passed over.
        outcomes: (L,) 1, 0 or -1; items with -1 do not count.
        recency: weights of the newest items, as many as are looked at; those that are passed over take none.
    """
    size = len(bias)
    vector, mean = np.zeros(size, dtype=np.float32), np.zeros(size, dtype=np.float32)
    if len(user_row):
        vector[:] = user_row
    total, known = np.float32(0.0), 0
    for place in range(min(len(history_rows), len(recency))):
        row = history_rows[place]
        if not 0 <= row < len(index):
            continue
        if outcomes[place] >= 0:
            total += recency[known]
            for column in range(size):
                mean[column] += recency[known] * index[row, column]
        known += 1
    if total == np.float32(0.0):
        return vector
    for line in range(size):
        projected = np.float32(0.0)
        for column in range(size):
            projected += weight[line, column] * mean[column]
        vector[line] += projected / total + bias[line]
    return vector
