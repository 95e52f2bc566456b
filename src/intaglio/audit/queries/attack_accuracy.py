"""Accuracies of attacks in closed form: on sticky noise where every query is answered, and on any private engine.

Everywhere the secret is even beforehand, and the attacked record is the only one with its known attributes. s is 1 for
a record that has the asked value, and 0 for one that lacks it.
"""

import math
from collections import defaultdict
from functools import cache

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.stats import chi2, ncx2, norm

PHASES = 16
"""Fractions of a record over which a constant is averaged; the integrand is smooth and periodic."""
NEGLIGIBLE = 1e-14
"""Probability of a sum and a sum of squares below which it is not followed."""
SPREAD = 8.5
"""Standard deviations within which a rounded difference is followed."""


def budget_bound(budget: float | int) -> float:
    """Largest accuracy of any guess of an even bit after answers that are `budget`-differentially private, from 0."""
    return 1 / (1 + math.exp(-budget))


def difference_threshold(attributes: int, pairs: int) -> float:
    """The threshold tau of the likelihood-ratio test: s = 0 is called where sum (y + 1/n)^2 is above it."""
    n, k = attributes, pairs
    return (4 * n + 4) / n * (k / 2 * math.log(n + 1) + k / (4 * n))


def difference_accuracy(attributes: int, pairs: int, *, rounded: bool = True) -> float:
    """Accuracy of the test of k differences, each of a pair of queries of n and n + 1 conditions.

    Unrounded, 1/2 [F(tau/2; k, k/(2 n^2)) + 1 - F(tau/(2n+2); k, k (1 + 1/n)^2 / (2n+2))] with F the distribution of
    the noncentral chi-squared. Rounded, the distribution of the statistic is summed over whole differences.

    Args:
        attributes: n, known attributes of the record, from 1.
        pairs: k, attributes that are left out in turn, from 1.
        rounded: whether the engine rounds its answers.
    """
    n, k, tau = attributes, pairs, difference_threshold(attributes, pairs)
    if not rounded:
        has = ncx2.cdf(tau / 2, k, k / (2 * n**2))
        lacks = ncx2.sf(tau / (2 * n + 2), k, k * (1 + 1 / n) ** 2 / (2 * n + 2))
        return float(has + lacks) / 2
    # n times the statistic is a sum of n y^2 + 2 y + 1/n over whole y; n y^2 + 2 y + 1 is a count from 0.
    most = math.floor(n * tau + k - k / n)
    below = [_sum_below(*rounded_difference(mean, variance), n, k, most) for mean, variance in ((0, 2), (1, 2 * n + 2))]
    return (below[0] + 1 - below[1]) / 2


def _sum_below(values: Int[ndarray, "v"], chances: Float[ndarray, "v"], n: int, k: int, most: int) -> float:
    """Probability that the sum of k independent n y^2 + 2 y + 1 is at most `most`."""
    terms = n * values**2 + 2 * values + 1
    one = np.bincount(terms[terms <= most], chances[terms <= most], minlength=most + 1)
    total = one
    for _ in range(k - 1):
        total = np.convolve(total, one)[: most + 1]
    return float(total.sum())


def cloning_accuracy(clones: int, *, rounded: bool = True) -> float:
    """Accuracy of the test of the variance of k clones against k / (4 (k - 1)); k from 2.

    With s = 1 the test never errs. With s = 0 the clones are N(0, 2) around a constant: unrounded, the sum of squares
    around their mean is twice a chi-squared variable of k - 1 degrees of freedom, and at most k / 4 where that errs.
    """
    return 1 - (cloning_miss(clones) if rounded else float(chi2.cdf(clones / 8, clones - 1))) / 2


@cache
def cloning_miss(clones: int) -> float:
    """Probability that k rounded clones of a record with s = 0 have a sample variance of at most k / (4 (k - 1))."""
    return float(np.mean([_close_together(phase / PHASES, clones) for phase in range(PHASES)]))


def _close_together(constant: float, count: int) -> float:
    """Probability that sum (y - mean y)^2 is at most count / 4 for `count` rounded differences around a constant.

    That sum never falls as terms are added, so whatever is above is dropped on the way, and so is what is next to
    impossible.
    """
    values, chances = rounded_difference(constant, 2)
    kept = {(0, 0): 1.0}  # by sum and sum of squares
    for number in range(1, count + 1):
        after: dict[tuple[int, int], float] = defaultdict(float)
        for (total, squares), chance in kept.items():
            for value, added in zip(values.tolist(), chances.tolist(), strict=True):
                sums = (total + value, squares + value**2)
                if 4 * (number * sums[1] - sums[0] ** 2) <= number * count:
                    after[sums] += chance * added
        kept = {sums: chance for sums, chance in after.items() if chance > NEGLIGIBLE}
    return sum(kept.values())


def averaging_accuracy(attributes: int, *, rounded: bool = True) -> float:
    """Accuracy of calling s = 0 where one sticky difference is above one half; n attributes, from 1."""
    right = 0.0
    for mean, variance, positive in ((0, 2, False), (1, 2 * attributes + 2, True)):
        if rounded:
            values, chances = rounded_difference(mean, variance)
            right += float(chances[(values > 0) == positive].sum())
        else:  # either mean is one half away from the threshold, on the right side
            right += float(norm.cdf(0.5 / math.sqrt(variance)))
    return right / 2


def rounded_difference(mean: float | int, variance: float | int) -> tuple[Int[ndarray, "v"], Float[ndarray, "v"]]:
    """Values of round(a) - round(a - d) with their probabilities, for d ~ N(mean, variance).

    The fraction of `a` is taken as uniform and independent of d, as noise of several records makes it: then the value
    is i with a probability of max(0, 1 - |i - d|) given d, whose mean is a second difference of E (i - d)_+.
    """
    sd = math.sqrt(variance)
    values = np.arange(math.floor(mean - SPREAD * sd) - 1, math.ceil(mean + SPREAD * sd) + 2)
    places = (np.append(values - 1, [values[-1], values[-1] + 1]) - mean) / sd
    above = sd * (places * norm.cdf(places) + norm.pdf(places))
    chances = np.maximum(np.diff(above, 2), 0)
    return values, chances / chances.sum()
