"""Units of a randomised trial with features, and a table that they are read from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from intaglio.causal.tables.csv_reader import RawTable, read_table_file
from intaglio.causal.tables.number_columns import arms, column, numbers
from intaglio.errors import BadInput

FEWEST = 40
"""Units, and those of an arm times two, at least."""
FAR = 4
"""Standard errors between treated units and their expected number above which propensities are doubted."""
EDGE = 0.01
"""Propensities nearer to 0 or 1 than this are refused."""


@dataclass(frozen=True, eq=False)
class TrialUnits:
    """Units of a trial."""

    names: tuple[str, ...]
    outcome: Float[ndarray, "n"]
    treated: Bool[ndarray, "n"]
    propensity: Float[ndarray, "n"]
    """Probability of treatment that each unit had, by design."""
    features: Float[ndarray, "n d"]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, places: Int[ndarray, "m"]) -> "TrialUnits":
        return TrialUnits(
            tuple(self.names[k] for k in places),
            *(one[places] for one in (self.outcome, self.treated, self.propensity, self.features)),
        )

    @property
    def warnings(self) -> list[str]:
        """Sentences on what speaks against the propensities, by the number of treated units."""
        apart = float((self.treated - self.propensity).sum())
        errors = apart / float((self.propensity * (1 - self.propensity)).sum()) ** 0.5
        if abs(errors) <= FAR:
            return []
        return [
            f"{int(self.treated.sum())} units are treated where the propensities speak for "
            f"{float(self.propensity.sum()):.0f}, {abs(errors):.0f} standard errors away; check --propensity"
        ]

    def check(self) -> None:
        """Raises `BadInput` for too few units, for numbers that are not finite, and for outcomes without difference."""
        smaller = min(int(self.treated.sum()), int((~self.treated).sum()))
        if len(self) < FEWEST or smaller < FEWEST // 2:
            raise BadInput(
                f"{len(self)} units with {smaller} in the smaller arm are too few; give {FEWEST} or more, "
                f"{FEWEST // 2} in each"
            )
        if not (np.isfinite(self.features).all() and np.isfinite(self.outcome).all()):
            raise BadInput("features or outcomes of units are not finite; give numbers for all of them")
        if np.ptp(self.outcome) == 0:
            raise BadInput("the outcomes of all units are the same, so that nothing has an effect on them")
        if ((self.propensity < EDGE) | (self.propensity > 1 - EDGE)).any():
            raise BadInput(
                f"a unit has a propensity below {EDGE:g} or above {1 - EDGE:g}, so that its effect cannot be told; "
                "leave such units out"
            )


@dataclass(frozen=True)
class TrialColumns:
    """Names of the columns of a table of units."""

    unit: str
    outcome: str
    treatment: str
    propensity: str
    """A column, a number above 0 and below 1 for all units, or empty: the share of treated units."""
    covariates: tuple[str, ...]
    """Columns of numbers that are features."""


def read_units(path: Path, columns: TrialColumns) -> TrialUnits:
    """Units of a table, with the covariates for features; none makes features of no column.

    Raises `BadInput` for columns that there are not, for what is no number, for units that are named twice, and for
    treatments other than 0 and 1.
    """
    table = read_table_file(path)
    names = tuple(str(one) for one in column(table, columns.unit, path))
    if len(set(names)) < len(names):
        twice = next(one for one in names if names.count(one) > 1)
        raise BadInput(f"{path} has the unit {twice!r} twice; leave one row of each")
    outcome, treated = numbers(table, columns.outcome, path), arms(table, columns.treatment, path)
    features = [numbers(table, one, path) for one in columns.covariates]
    stacked = np.stack(features, 1) if features else np.empty((len(names), 0))
    return TrialUnits(names, outcome, treated == 1, _propensity(table, columns.propensity, path, treated), stacked)


def _propensity(table: RawTable, told: str, path: Path, treated: Float[ndarray, "n"]) -> Float[ndarray, "n"]:
    if not told:
        return np.full(len(treated), treated.mean())
    try:
        same = float(told)
    except ValueError:
        return numbers(table, told, path)
    if not 0 < same < 1:
        raise BadInput(f"a propensity of {told} is no probability above 0 and below 1")
    return np.full(len(treated), same)
