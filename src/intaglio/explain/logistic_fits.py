"""Logistic regression whose penalty is chosen within the pictures that it is fitted to."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from intaglio.explain.probe_scores import Codes, balanced_accuracy, folds_of

FOLDS = 3
"""Folds within which the penalty is chosen."""
MOST_STEPS = 1000
"""Steps of a fit, at most."""


def chosen_logistic(
    features: Float[ndarray, "m d"],
    truth: Codes,
    groups: Codes,
    strengths: Sequence[float],
    seed: int,
    *,
    centred: bool = True,
) -> Any:
    """A scikit-learn pipeline, scaler and regression, of the strength with the best accuracy in folds of these rows.

    Args:
        features: of m pictures.
        truth: their classes, two or more.
        groups: pictures of a group are in one fold.
        strengths: inverse strengths C of the L2 penalty; of one, nothing is chosen.
        seed: of the folds.
        centred: whether features are moved to mean 0; they are scaled to deviation 1 in any case.
    """
    best = strengths[0]
    if len(strengths) > 1:
        folds = folds_of(truth, groups, FOLDS, seed)
        scores = [_score(features, truth, folds, one, centred) for one in strengths]
        best = strengths[int(np.argmax(scores))]
    return fitted_logistic(features, truth, best, centred=centred)


def _score(features: ndarray, truth: Codes, folds: Codes, strength: float, centred: bool) -> float:
    found = np.zeros(len(truth), np.int64)
    for fold in np.unique(folds):
        out = folds == fold
        found[out] = fitted_logistic(features[~out], truth[~out], strength, centred=centred).predict(features[out])
    return balanced_accuracy(truth, found)


def fitted_logistic(
    features: Float[ndarray, "m d"],
    truth: Codes,
    strength: float,
    *,
    centred: bool = True,
    weights: Float[ndarray, "m"] | None = None,
) -> Any:
    """A scikit-learn pipeline, scaler and regression, of one strength; classes count alike, or pictures by weights."""
    head = LogisticRegression(C=strength, class_weight="balanced" if weights is None else None, max_iter=MOST_STEPS)
    pipeline = make_pipeline(StandardScaler(with_mean=centred), head)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fit of so many steps serves
        return pipeline.fit(features, truth, logisticregression__sample_weight=weights)


def weights_by_class(head: LogisticRegression) -> Float[ndarray, "k d"]:
    """Weights of each class's logit; of two classes, those of the first are the second's with the other sign."""
    return head.coef_ if len(head.coef_) > 1 else np.concatenate([-head.coef_, head.coef_]) / 2


def plain_weights(pipeline: Any) -> tuple[Float[ndarray, "k d"], Float[ndarray, "k"]]:
    """Weights and biases of the logits that a pipeline of `chosen_logistic` gives, of features that are not scaled."""
    scaler, head = pipeline[0], pipeline[1]
    weights = weights_by_class(head) / scaler.scale_
    biases = head.intercept_ if len(head.intercept_) > 1 else np.concatenate([-head.intercept_, head.intercept_]) / 2
    return weights, biases - (weights @ scaler.mean_ if scaler.with_mean else 0.0)
