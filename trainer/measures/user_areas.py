"""AUC within a user, over the newest items that the user was shown: the "group" of gAUC that lists are too short for.

`gAUC = sum_u w_u AUC_u / sum_u w_u` with the items judged as weights: Zhu et al. 2017, "Optimized Cost per Click in
Taobao Display Advertising", https://arxiv.org/abs/1703.02091
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.measures.curve import auc
from trainer.measures.packed import pack_array, unpack_array

USERS = 2000
"""Users remembered; the one who was silent longest is forgotten first."""
ITEMS = 40
"""Newest items kept a user: 700 KB in a checkpoint when all are there."""


class UserAreas:
    """The newest judged items of every user of late."""

    def __init__(self) -> None:
        self._judged: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        """User -> (n, 2) scores and labels, newest last."""

    def observe(self, user_id: str, scores: NDArray[np.float32], labels: NDArray[np.float32]) -> float | None:
        """Fold one settled list in and return the user's AUC; None where only one kind of item is known."""
        new = np.stack([scores, labels], axis=1).astype(np.float32)
        known = self._judged.pop(user_id, new[:0])
        judged = self._judged[user_id] = np.concatenate([known, new])[-ITEMS:]
        if len(self._judged) > USERS:
            self._judged.popitem(last=False)
        return auc(judged[:, 0], judged[:, 1])

    def state(self) -> dict[str, Any]:
        """Return everything as what JSON can hold."""
        judged = list(self._judged.values())
        joined = np.concatenate(judged) if judged else np.zeros((0, 2), dtype=np.float32)
        return {"users": list(self._judged), "sizes": [len(one) for one in judged], "judged": pack_array(joined)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        parts = np.split(unpack_array(state["judged"]), np.cumsum(state["sizes"], dtype=np.int64)[:-1])
        self._judged = OrderedDict(zip(state["users"], parts, strict=False))
