"""A mixture of normal distributions whose components also have true and called classes of their own."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.special import logsumexp

from intaglio.randomness import numpy_generator

FLOOR = 1e-6
"""Least variance, as scikit-learn's mixtures have it."""
SMALL = 1e-10


@dataclass(frozen=True, eq=False)
class ErrorMixture:
    """Components s with weights, means and variances of features, and probabilities of true and called classes.

    log p(z, y, y') = logsumexp_s log w_s + log N(z; m_s, v_s) + g log p_s(y) + g log q_s(y').
    """

    weights: Float[ndarray, "s"]
    means: Float[ndarray, "s d"]
    variances: Float[ndarray, "s d"]
    truth: Float[ndarray, "s k"]
    called: Float[ndarray, "s k"]
    gain: float
    """Weight g of the classes beside the features."""

    def joint(
        self, features: Float[ndarray, "n d"], truth: Int[ndarray, "n"], called: Int[ndarray, "n"]
    ) -> Float[ndarray, "n s"]:
        """Log densities of each row in each component."""
        classes = np.log(self.truth + SMALL)[:, truth] + np.log(self.called + SMALL)[:, called]
        return self.looks(features) + self.gain * classes.T

    def looks(self, features: Float[ndarray, "n d"]) -> Float[ndarray, "n s"]:
        """Those of the features alone."""
        away = (features[:, None] - self.means) ** 2 / self.variances
        logs = np.log(2 * np.pi * self.variances).sum(1)
        return np.log(self.weights + SMALL) - 0.5 * (away.sum(2) + logs)


def shares(joint: Float[ndarray, "n s"]) -> Float[ndarray, "n s"]:
    """Probabilities of the components, of log densities."""
    return np.exp(joint - logsumexp(joint, axis=1, keepdims=True))


def fitted_mixture(
    features: Float[ndarray, "n d"],
    truth: Int[ndarray, "n"],
    called: Int[ndarray, "n"],
    *,
    classes: int,
    components: int,
    gain: float,
    updates: int,
    seed: int,
) -> tuple[ErrorMixture, list[float]]:
    """The mixture after so many steps of expectation and maximisation, and the mean log-likelihood of each.

    Components begin in the cells of the confusion matrix, in turn, the fullest first, each with random weights of its
    rows: so that some begin where the classifier errs.
    """
    taken = _start(truth, called, classes, components, seed)
    found = list[float]()
    mixture = _maximised(features, truth, called, taken, classes, gain)
    for _ in range(updates):
        joint = mixture.joint(features, truth, called)
        found.append(float(np.mean(np.asarray(logsumexp(joint, axis=1), np.float64))))
        if len(found) > 1 and found[-1] - found[-2] < 1e-6 * max(1.0, abs(found[-1])):
            break
        mixture = _maximised(features, truth, called, shares(joint), classes, gain)
    return mixture, found


def _start(
    truth: Int[ndarray, "n"], called: Int[ndarray, "n"], classes: int, components: int, seed: int
) -> Float[ndarray, "n s"]:
    cells, counts = np.unique(truth * classes + called, return_counts=True)
    ordered = cells[np.argsort(-counts, kind="stable")]
    random = numpy_generator(seed, 0).random((len(truth), components))
    own = (truth * classes + called)[:, None] == ordered[np.arange(components) % len(ordered)]
    taken = np.where(own, random, 0.0)
    empty = taken.sum(1) == 0
    taken[empty] = random[empty]
    return taken / taken.sum(1, keepdims=True)


def _maximised(
    features: Float[ndarray, "n d"],
    truth: Int[ndarray, "n"],
    called: Int[ndarray, "n"],
    taken: Float[ndarray, "n s"],
    classes: int,
    gain: float,
) -> ErrorMixture:
    counts = taken.sum(0) + 10 * np.finfo(float).eps
    means = taken.T @ features / counts[:, None]
    variances = taken.T @ features**2 / counts[:, None] - means**2 + FLOOR
    one_hot = np.eye(classes)
    own, said = (taken.T @ one_hot[one] / counts[:, None] for one in (truth, called))
    return ErrorMixture(counts / counts.sum(), means, np.maximum(variances, FLOOR), own, said, gain)
