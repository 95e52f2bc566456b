"""Rows that a correction is learnt from, and rows of trials whose outcomes are predicted."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from intaglio.causal.tables.csv_reader import read_table_file
from intaglio.causal.tables.number_columns import arms, column, numbers
from intaglio.errors import BadInput

ONE_TRIAL = "all"
"""Name of the trial where the table tells none apart."""


@dataclass(frozen=True, eq=False)
class CalibrationRows:
    """Outcomes that are known, with their predictions by a model that did not learn from them."""

    truth: Float[ndarray, "n"]
    predicted: Float[ndarray, "n"]

    def __len__(self) -> int:
        return len(self.truth)

    def __getitem__(self, places: Int[ndarray, "m"]) -> "CalibrationRows":
        return CalibrationRows(self.truth[places], self.predicted[places])


@dataclass(frozen=True, eq=False)
class TrialRows:
    """Units of trials, whose outcomes are predicted alone."""

    predicted: Float[ndarray, "n"]
    treated: Bool[ndarray, "n"]
    weights: Float[ndarray, "n"]
    """Above 0, such as inverse propensities."""
    trial: Int[ndarray, "n"]
    """Place of each unit's trial in `names`."""
    names: tuple[str, ...]

    def arms(self, trial: int) -> tuple[Int[ndarray, "t"], Int[ndarray, "c"]]:
        """Places of a trial's treated units, and of the others."""
        inside = self.trial == trial
        return np.flatnonzero(inside & self.treated), np.flatnonzero(inside & ~self.treated)


def read_calibration(path: Path, outcome: str, prediction: str) -> CalibrationRows:
    """The calibration rows of a table. Raises `BadInput` for columns that there are not, and for what is no number."""
    table = read_table_file(path)
    return CalibrationRows(numbers(table, outcome, path), numbers(table, prediction, path))


def read_trials(path: Path, prediction: str, treatment: str, trial: str = "", weight: str = "") -> TrialRows:
    """The trials of a table.

    Args:
        path: of the table.
        prediction: column of predicted outcomes.
        treatment: column of 0 and 1.
        trial: column of names of trials; empty: all rows are one.
        weight: column of weights; empty: all are 1.

    Raises `BadInput` for columns that there are not, for what is no number, and for a trial without either arm.
    """
    table = read_table_file(path)
    treated = arms(table, treatment, path)
    weights = numbers(table, weight, path) if weight else np.ones(len(treated))
    if not (weights > 0).all():
        raise BadInput(f"column {weight} of {path} has weights that are not above 0; leave these rows out")
    named = pd.Series(column(table, trial, path)).astype(str) if trial else pd.Series([ONE_TRIAL] * len(treated))
    codes, names = pd.factorize(named, sort=True)
    predicted = numbers(table, prediction, path)
    found = TrialRows(predicted, treated == 1, weights, np.asarray(codes, np.int64), tuple(map(str, names)))
    for place, name in enumerate(found.names):
        if min(map(len, found.arms(place))) < 2:
            raise BadInput(f"trial {name} of {path} has an arm of fewer than two units; leave it out")
    return found
