"""Evidence of dependence of two columns with levels, from counts: Bayes factors that hold for any number of cases."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.special import gammaln

EQUIVALENT_SAMPLE = 1.0
"""Rows that the Dirichlet prior is worth in all, spread evenly over the cells, as in BDeu with this sample size."""


def log_bayes_factor(first: Int[ndarray, "n"], second: Int[ndarray, "n"], stratum: Int[ndarray, "n"]) -> float:
    """Log of p(rows | dependent) / p(rows | independent) of two columns, given the stratum; in nats.

    In each stratum the counts [r, c] are multinomial with a Dirichlet prior of `EQUIVALENT_SAMPLE` / (q r c) a cell for
    q strata; under independence both margins are, with the sums of these priors. It is the gain of BDeu by an edge
    (D. Heckerman, D. Geiger, D. Chickering, Machine Learning 20, 1995), the same in either direction.

    Args:
        first: codes from 0.
        second: codes from 0.
        stratum: codes from 0 of the combinations of levels of what is given; all 0 where nothing is.
    """
    r, c, q = (int(codes.max(initial=0)) + 1 for codes in (first, second, stratum))
    counts = np.bincount((stratum * r + first) * c + second, minlength=q * r * c).reshape(q, r, c).astype(np.float64)
    counts = counts[counts.any((1, 2))]
    cell = EQUIVALENT_SAMPLE / (q * r * c)
    together = _log_marginal(counts.reshape(len(counts), r * c), cell)
    apart = _log_marginal(counts.sum(2), cell * c) + _log_marginal(counts.sum(1), cell * r)
    return float((together - apart).sum())


def _log_marginal(counts: Float[ndarray, "q k"], prior: float) -> Float[ndarray, "q"]:
    """Log probability of each row of counts, as a sequence of draws, under a symmetric Dirichlet prior."""
    whole = prior * counts.shape[1]
    return gammaln(whole) - gammaln(counts.sum(1) + whole) + (gammaln(counts + prior) - gammaln(prior)).sum(1)
