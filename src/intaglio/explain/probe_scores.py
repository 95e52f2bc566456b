"""Scores of probes: how often logistic regression on features names the label of pictures that it was not fitted to.

Folds are stratified, and whole groups of pictures stay together. In each fold everything that is chosen or fitted (the
mean and scale of features, the strength of regularisation, the cell of features) is chosen without that fold's rows.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from intaglio.metrics.statistics.interval import Interval, interval
from intaglio.randomness import numpy_generator

MOST_STEPS = 1000
"""Steps of a fit, at most."""
AT_ONCE = 50
"""Resamples of pictures that are scored together."""

Codes = Int[ndarray, "n"]
"""A class, a group or a fold of each of n pictures."""


def balanced_accuracy(truth: Codes, predicted: Codes) -> float:
    """Mean over the classes there are of the share of their pictures that are named right."""
    return float(np.mean([(predicted[truth == one] == one).mean() for one in np.unique(truth)]))


def balanced_interval(truth: Codes, predicted: Codes, groups: Codes) -> Interval:
    """95% interval of `balanced_accuracy` by resampling whole groups of pictures, fits being as they are."""
    hits, counts = _by_group(truth, predicted == truth, groups)
    return interval(lambda drawn: _recalls(hits, counts, drawn), [np.arange(len(hits))], batch=AT_ONCE)


def difference_interval(truth: Codes, first: Codes, second: Codes, groups: Codes) -> Interval:
    """95% interval of how much further the first predictions' balanced accuracy is than the second's, as paired."""
    mine, counts = _by_group(truth, first == truth, groups)
    others, _ = _by_group(truth, second == truth, groups)
    return interval(lambda drawn: _recalls(mine - others, counts, drawn), [np.arange(len(mine))], batch=AT_ONCE)


def resampled_interval(
    truth: Codes, answers: Sequence[Codes], groups: Codes, told: Callable[[Float[ndarray, "a b"]], ndarray]
) -> Interval:
    """95% interval of what `told` makes of the balanced accuracies [a, b] of a rows of answers in b resamples."""
    counted = [_by_group(truth, one == truth, groups) for one in answers]
    groups_of = [np.arange(len(counted[0][0]))]
    return interval(
        lambda drawn: told(np.array([_recalls(hits, counts, drawn) for hits, counts in counted])),
        groups_of,
        batch=AT_ONCE,
    )


def _by_group(truth: Codes, right: ndarray, groups: Codes) -> tuple[Float[ndarray, "g k"], Float[ndarray, "g k"]]:
    """Right answers and pictures, by group and class."""
    places = np.unique(groups, return_inverse=True)[1]
    hits, counts = np.zeros((2, places.max() + 1, truth.max() + 1))
    np.add.at(hits, (places, truth), right)
    np.add.at(counts, (places, truth), 1)
    present = counts.sum(0) > 0
    return hits[:, present], counts[:, present]


def _recalls(hits: Float[ndarray, "g k"], counts: Float[ndarray, "g k"], drawn: Int[ndarray, "b m"]) -> ndarray:
    """Mean recall of each resample, over the classes that it has."""
    there = counts[drawn].sum(1)
    return np.nanmean(np.where(there > 0, hits[drawn].sum(1) / np.maximum(there, 1), np.nan), 1)


def folds_of(truth: Codes, groups: Codes, folds: int, seed: int) -> Codes:
    """The fold of each picture, 0 to folds - 1, shares of classes being alike in all; a group is in one fold."""
    found = np.zeros(len(truth), np.int64)
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of shuffled labels, a class may have fewer groups than folds
        for number, (_, held_out) in enumerate(split.split(truth, truth, groups)):
            found[held_out] = number
    return found


@dataclass(frozen=True, eq=False)
class CellAnswers:
    """Answers of the probes of one cell, one fitted for each held-out fold."""

    predicted: Codes
    """The class of each picture, by the probe that was fitted without its fold."""
    inner: Float[ndarray, "f"]
    """For each fold, the balanced accuracy within the rest that its strength was chosen by."""
    strengths: tuple[float, ...]
    """Of each fold's probe."""
    settled: bool
    """Whether every fit ended before the most steps."""


def cell_answers(
    features: Float[ndarray, "n d"], truth: Codes, folds: Codes, strengths: Sequence[float]
) -> CellAnswers:
    """Answers of one cell, the strength of each fold's probe chosen within the other folds.

    For a held-out fold f, a probe is fitted without f and g, and asked for g, for each other fold g; the strength whose
    answers for all g have the largest balanced accuracy, the first of equals, is that of the probe fitted without f
    alone. The probe without f and g serves f and g both.

    Args:
        features: of n pictures.
        truth: their classes.
        folds: of the pictures, 0 to F - 1, F from 3.
        strengths: inverse strengths C of regularisation, each above 0.
    """
    count = int(folds.max()) + 1
    settled = True
    asked = np.zeros((len(strengths), count, len(truth)), np.int64)  # for a held-out fold, answers for the other ones
    for place, strength in enumerate(strengths):
        for f in range(count):
            for g in range(f):
                rest = (folds != f) & (folds != g)
                answers, ended = _fitted_answers(features, truth, rest, strength)
                asked[place, f, folds == g] = answers[folds == g]
                asked[place, g, folds == f] = answers[folds == f]
                settled &= ended
    predicted, inner, chosen = np.zeros(len(truth), np.int64), np.zeros(count), list[float]()
    for f in range(count):
        others = folds != f
        scores = [balanced_accuracy(truth[others], one[f, others]) for one in asked]
        best = int(np.argmax(scores))
        answers, ended = _fitted_answers(features, truth, others, strengths[best])
        predicted[~others], inner[f] = answers[~others], scores[best]
        chosen.append(strengths[best])
        settled &= ended
    return CellAnswers(predicted, inner, tuple(chosen), settled)


def plain_answers(features: Float[ndarray, "n d"], truth: Codes, folds: Codes, strength: float) -> Codes:
    """The class of each picture by a probe that was fitted without its fold, at one strength."""
    found = np.zeros(len(truth), np.int64)
    for f in range(int(folds.max()) + 1):
        answers, _ = _fitted_answers(features, truth, folds != f, strength)
        found[folds == f] = answers[folds == f]
    return found


def _fitted_answers(features: ndarray, truth: Codes, fitted: ndarray, strength: float) -> tuple[Codes, bool]:
    """Answers for all pictures of a probe that sees the rows marked by `fitted` alone, and whether its fit ended."""
    if len(np.unique(truth[fitted])) < 2:
        return np.full(len(truth), truth[fitted][0]), True
    regression = LogisticRegression(C=strength, class_weight="balanced", max_iter=MOST_STEPS)
    probe = make_pipeline(StandardScaler(), regression)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # told by the steps
        probe.fit(features[fitted], truth[fitted])
    return probe.predict(features), bool(regression.n_iter_.max() < MOST_STEPS)


def chosen_answers(answers: Sequence[CellAnswers], folds: Codes) -> tuple[Codes, tuple[int, ...]]:
    """Answers with the cell chosen too: for each fold that of the largest `inner`, the first of equals; and which."""
    places = np.array([one.inner for one in answers]).argmax(0)
    every = np.array([one.predicted for one in answers])
    return every[places[folds], np.arange(len(folds))], tuple(places.tolist())


def shuffled(truth: Codes, groups: Codes, seed: int, number: int) -> Codes:
    """The classes in another order: whole groups have those of others.

    Where each group has one class, classes are permuted among groups. Else the classes of groups in a random order,
    each group's own together, are laid on groups in another random order: rows of a group keep classes that belong
    together, as far as sizes allow.
    """
    random = numpy_generator(seed, number)
    first, places = np.unique(groups, return_index=True, return_inverse=True)[1:]
    if (truth == truth[first][places]).all():
        return random.permutation(truth[first])[places]
    given, taken = (np.argsort(random.permutation(len(first))[places], kind="stable") for _ in range(2))
    found = np.empty_like(truth)
    found[taken] = truth[given]
    return found
