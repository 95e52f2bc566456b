"""Linear classifiers of a site's activations, one for each step of a sampling."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from torch import Tensor

INVERSE_PENALTY = 10.0
"""Of the squared length of the weights, where a row has a mean square length of 1."""
FOLDS = 5


@dataclass(frozen=True, eq=False)
class StepClassifiers:
    """Logits of k values at step s: weights_s h + offset_s, with h the activations as one row."""

    weights: Float[Tensor, "s k d"]
    offsets: Float[Tensor, "s k"]
    accuracy: Float[ndarray, "s"]
    """Mean over values of the share of their drawings that are told, of drawings that were left out of the fit; NaN
    where a value has one drawing."""

    def logits(self, rows: Float[Tensor, "n s d"]) -> Float[Tensor, "n s k"]:
        """Of drawings at every step."""
        return torch.einsum("nsd,skd->nsk", rows.to(self.weights), self.weights) + self.offsets


def fitted_classifiers(values: Float[Tensor, "n s *shape"], labels: Int[Tensor, "n"], count: int) -> StepClassifiers:
    """Logistic regressions with a squared penalty, which see each value as often as the others.

    Fewer drawings than numbers of a row span few directions, in which alone the weights lie; so each is fitted there.

    Args:
        values: activations of n drawings at each step.
        labels: place of each drawing's value; each value has one at least.
        count: k, the values.
    """
    found = [_fitted(one.flatten(1).double(), labels.numpy(), count) for one in values.unbind(1)]
    weights, offsets, accuracy = zip(*found, strict=True)
    return StepClassifiers(torch.stack(weights), torch.stack(offsets), np.array(accuracy))


def _fitted(rows: Float[Tensor, "n d"], labels: Int[ndarray, "n"], count: int) -> tuple[Tensor, Tensor, float]:
    """Weights [k, d], offsets [k] and accuracy of one step."""
    mean = rows.mean(0)
    left, sizes, right = torch.linalg.svd(rows - mean, full_matrices=False)
    kept = sizes > 1e-9 * sizes[0].clamp_min(1e-30)
    unit = float(sizes.square().sum().div(len(rows)).sqrt().clamp_min(1e-30))
    inner = (left[:, kept] * sizes[kept] / unit).numpy()
    if not inner.shape[1]:  # every drawing is the same
        return torch.zeros(count, rows.shape[1]), torch.zeros(count), 1 / count
    model = LogisticRegression(C=INVERSE_PENALTY, class_weight="balanced", max_iter=1000)
    fit = model.fit(inner, labels)
    weights, offsets = torch.from_numpy(fit.coef_), torch.from_numpy(fit.intercept_)
    if count == 2:  # scikit-learn has one row for two classes
        weights, offsets = torch.cat([-weights, weights]) / 2, torch.cat([-offsets, offsets]) / 2
    whole = weights @ right[kept] / unit
    return whole.float(), (offsets - whole @ mean).float(), _accuracy(model, inner, labels)


def _accuracy(model: LogisticRegression, rows: Float[ndarray, "n r"], labels: Int[ndarray, "n"]) -> float:
    """Balanced accuracy of drawings that were left out."""
    folds = min(FOLDS, int(np.bincount(labels)[np.unique(labels)].min()))
    if folds < 2:
        return float("nan")
    told = cross_val_predict(model, rows, labels, cv=StratifiedKFold(folds))
    return float(np.mean([(told[labels == one] == one).mean() for one in np.unique(labels)]))
