"""Vowpal Wabbit's FTRL over ids, for events that carry a label; an optional package."""

from __future__ import annotations

import re
import weakref

from trainer.evaluation.baselines.pointwise_run import LabelledEvent
from trainer.evaluation.errors import MissingPackageError

ARGUMENTS = "--ftrl --loss_function logistic --link logistic -b 20 -q ui --random_seed 17 --quiet"
_SPECIAL = re.compile(r"[\s|:]")


class VowpalWabbit:
    """`--ftrl` on user, item, their pair and the item's categories.

    Raises:
        MissingPackageError: `vowpalwabbit` is not installed.
    """

    name = "vw ftrl"

    def __init__(self) -> None:
        try:
            import vowpalwabbit  # Optional: no part of the loop needs it.
        except ImportError as error:
            raise MissingPackageError(
                "--baseline vw needs the package vowpalwabbit; `uv sync --group evaluate` installs it"
            ) from error
        self._model = vowpalwabbit.Workspace(ARGUMENTS)
        # Its own destructor fails where it runs when the interpreter ends.
        weakref.finalize(self, self._model.finish)

    def predict(self, event: LabelledEvent) -> float:
        """Return the chance that the label is 1."""
        return float(self._model.predict(_line(event)))

    def learn(self, event: LabelledEvent, label: float) -> None:
        """Learn one event."""
        self._model.learn(f"{'1' if label > 0 else '-1'} {_line(event)}")


def _line(event: LabelledEvent) -> str:
    names = " ".join(_SPECIAL.sub("_", name) for name in event.categories)
    return f"|u {_SPECIAL.sub('_', event.user_id)} |i {_SPECIAL.sub('_', event.item_id)} |c {names}"
