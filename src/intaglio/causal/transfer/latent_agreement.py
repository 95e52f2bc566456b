"""Agreement of two sets of latent numbers up to an affine map: the weak mean correlation coefficient."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.randomness import numpy_generator


def weak_mcc(first: Float[ndarray, "n k"], second: Float[ndarray, "n j"]) -> float:
    """Mean over the first's numbers of their correlation with what an affine map of the second makes of them.

    The map is of least squares on half of the rows, drawn by a fixed seed, and correlations are of the rest, below 0
    counted as 0; a number that does not vary counts 0. 1 where both are the same up to an affine map.
    """
    given = np.concatenate([second, np.ones((len(second), 1))], 1)
    order = numpy_generator(0).permutation(len(first))
    fitted, judged = order[::2], order[1::2]
    aligned = given[judged] @ np.linalg.lstsq(given[fitted], first[fitted], rcond=None)[0]
    return float(np.mean([_correlation(*pair) for pair in zip(first[judged].T, aligned.T, strict=True)]))


def _correlation(one: Float[ndarray, "n"], two: Float[ndarray, "n"]) -> float:
    one, two = one - one.mean(), two - two.mean()
    size = float(np.linalg.norm(one) * np.linalg.norm(two))
    return max(0.0, float(one @ two) / size) if size > 1e-9 else 0.0
