"""river's biased matrix factorisation and logistic regression over ids, for events that carry a label."""

from __future__ import annotations

import random

from river import linear_model, optim, reco

from trainer.evaluation.baselines.pointwise_run import LabelledEvent


class RiverFactorisation:
    """`reco.BiasedMF` on the label as a number; what it says is clipped to a chance."""

    name = "river BiasedMF"

    def __init__(self) -> None:
        random.seed(17)
        self._model = reco.BiasedMF(
            n_factors=10,
            bias_optimizer=optim.SGD(0.025),
            latent_optimizer=optim.SGD(0.05),
            weight_initializer=optim.initializers.Zeros(),
            latent_initializer=optim.initializers.Normal(mu=0.0, sigma=0.1, seed=17),
            l2_bias=0.0,
            l2_latent=0.0,
        )

    def predict(self, event: LabelledEvent) -> float:
        """Return the chance that the label is 1."""
        return float(min(max(self._model.predict_one(event.user_id, event.item_id), 0.01), 0.99))

    def learn(self, event: LabelledEvent, label: float) -> None:
        """Learn one event."""
        self._model.learn_one(event.user_id, event.item_id, y=label)


class RiverRegression:
    """`linear_model.LogisticRegression` on user and item ids."""

    name = "river LR"

    def __init__(self) -> None:
        self._model = linear_model.LogisticRegression(optimizer=optim.AdaGrad(0.2), intercept_lr=0.02)

    def predict(self, event: LabelledEvent) -> float:
        """Return the chance that the label is 1."""
        return float(self._model.predict_proba_one(_features(event)).get(True, 0.5))

    def learn(self, event: LabelledEvent, label: float) -> None:
        """Learn one event."""
        self._model.learn_one(_features(event), label > 0)


def _features(event: LabelledEvent) -> dict[str, float]:
    return {f"u {event.user_id}": 1.0, f"i {event.item_id}": 1.0} | {f"c {name}": 1.0 for name in event.categories}
