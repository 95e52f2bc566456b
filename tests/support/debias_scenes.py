"""Planted outcomes and predictions."""

import numpy as np

from intaglio.causal.debias.trial_rows import CalibrationRows, TrialRows


def rows_of(truth: np.ndarray, predicted: np.ndarray) -> CalibrationRows:
    return CalibrationRows(np.asarray(truth, np.float64), np.asarray(predicted, np.float64))


def berkson(count: int, seed: int = 0) -> CalibrationRows:
    """y = pred + N(0, 0.4), where predictions are N(0, 0.6): outcomes have variance 1."""
    source = np.random.default_rng(seed)
    predicted = source.normal(0, 0.6**0.5, count)
    return CalibrationRows(predicted + source.normal(0, 0.4**0.5, count), predicted)


def trials(predicted: np.ndarray, treated: np.ndarray, weights: np.ndarray | None = None) -> TrialRows:
    """One trial."""
    count = len(predicted)
    return TrialRows(
        np.asarray(predicted, np.float64), np.asarray(treated, bool),
        np.ones(count) if weights is None else weights, np.zeros(count, np.int64), ("all",),
    )  # fmt: skip
