"""Ridge regression of outcomes on standardised features, its penalty chosen by leaving rows out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

PENALTIES = np.logspace(-2, 5, 29)


@dataclass(frozen=True, eq=False)
class OutcomeModel:
    """Outcomes as a linear function of features."""

    predict: Callable[[Float[ndarray, "m d"]], Float[ndarray, "m"]]

    @classmethod
    def of(
        cls, features: Float[ndarray, "n d"], outcome: Float[ndarray, "n"], weights: Float[ndarray, "n"] | None = None
    ) -> "OutcomeModel":
        """Fitted to rows, each with its weight."""
        from sklearn.linear_model import RidgeCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        model = make_pipeline(StandardScaler(), RidgeCV(PENALTIES))
        model.fit(features, outcome, ridgecv__sample_weight=weights)
        return cls(model.predict)

    def __call__(self, features: Float[ndarray, "m d"]) -> Float[ndarray, "m"]:
        """Predicted outcomes."""
        return np.asarray(self.predict(features), np.float64)
