"""linear-head: logistic regression on mean features."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.explain.heads.family import Kind, ReadableHead
from intaglio.explain.heads.fitted_head import MOST_GROUPS, FittedHead, HeadExplanation, Places, most_of
from intaglio.explain.logistic_fits import chosen_logistic, weights_by_class
from intaglio.explain.probe_scores import Codes


@dataclass(frozen=True, kw_only=True)
class LinearHead(ReadableHead):
    """Logistic regression on the mean features.

    Features x [d] are scaled to mean 0 and deviation 1; the logit of class k is w_k . x + b_k, and a person who wants
    to know why a picture is named so reads its d terms. The strength of the L2 penalty is chosen within the pictures
    that it is fitted to.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    kind: ClassVar[Kind] = "function"
    reading: ClassVar[str] = "the term of each feature in the label's sum"

    def fitted(self, places: Places, truth: Codes, groups: Codes, classes: int) -> FittedHead:
        """See the family."""
        return _Linear(chosen_logistic(places.mean(1), truth, groups, self.strengths, self.seed))


@dataclass(frozen=True, eq=False)
class _Linear(FittedHead):
    pipeline: Any

    def predict(self, places: Places) -> Codes:
        """See the contract."""
        return self.pipeline.predict(places.mean(1))

    def sizes(self, places: Places) -> Float[ndarray, "m"]:
        """See the contract: all features."""
        return np.full(len(places), float(places.shape[2]))

    def explained(self, places: Places, names: Sequence[str], truth: Codes, classes: Sequence[str]) -> HeadExplanation:
        """See the contract: the feature with the largest weight of each class."""
        rows = self.pipeline[0].transform(places.mean(1))
        weights = weights_by_class(self.pipeline[1])
        first = weights.argmax(1)
        table = tuple((name, f"feature {first[k]}", f"{weights[k].max():.2f}") for k, name in enumerate(classes))
        pictures = tuple(
            (f"{name}: most of feature {first[k]}", most_of(rows[:, first[k]], names)) for k, name in enumerate(classes)
        )
        text = f"The largest of {rows.shape[1]} weights of each label; the others count too."
        return HeadExplanation(text, ("label", "feature", "weight"), table, pictures[:MOST_GROUPS])
