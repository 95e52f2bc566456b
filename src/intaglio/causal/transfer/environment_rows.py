"""Rows of several environments: read from a table, and set up as a task with one environment held out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from intaglio.causal.tables.csv_reader import read_table_file
from intaglio.causal.tables.number_columns import column, numbers
from intaglio.causal.transfer.transfer_network import RowBatch
from intaglio.errors import BadInput
from intaglio.printable import one_line
from intaglio.randomness import numpy_generator

FEWEST = 10
"""Rows of an environment that is learnt from, at least."""
MOST_NAMED = 12
"""Environments of an error's sentence."""
MOST_CLASSES = 50
"""Classes of outcomes, at most."""


@dataclass(frozen=True, eq=False)
class EnvironmentRows:
    """Rows of a table."""

    names: tuple[str, ...]
    environments: tuple[str, ...]
    """Of each row."""
    outcomes: tuple[str, ...]
    """Class of each row; empty where it is not known."""
    features: Float[ndarray, "n d"]

    def __len__(self) -> int:
        return len(self.names)

    def without(self, environment: str) -> "EnvironmentRows":
        """The rows of all others."""
        kept = [k for k, one in enumerate(self.environments) if one != environment]
        names, places, outcomes = (
            tuple(one[k] for k in kept) for one in (self.names, self.environments, self.outcomes)
        )
        return EnvironmentRows(names, places, outcomes, self.features[kept])


@dataclass(frozen=True, eq=False)
class HeldOutTask:
    """Rows that are learnt from, and those of the target; features are standardised by those that are learnt from."""

    rows: RowBatch
    environments: tuple[str, ...]
    """By their numbers."""
    classes: tuple[str, ...]
    """By their numbers."""
    target: Float[Tensor, "m d"]
    names: tuple[str, ...]
    """Of the target's rows."""
    truth: Int[ndarray, "m"]
    """Class of each row of the target: -1 where it is not known, the number of classes for one that no other
    environment has."""

    @property
    def common(self) -> int:
        """The most common class of the rows that are learnt from."""
        return int(torch.bincount(self.rows.labels).argmax())

    def labelled(self, count: int, seed: int) -> Int[ndarray, "k"]:
        """Places, in order, of rows of the target whose class is known and another environment's, drawn by the seed.

        Raises `BadInput` for fewer.
        """
        known = np.flatnonzero((self.truth >= 0) & (self.truth < len(self.classes)))
        if len(known) < count:
            raise BadInput(
                f"{count} labelled rows of the target are asked for, and {len(known)} have an outcome that another "
                "environment has; lower --labelled"
            )
        return np.sort(numpy_generator(seed, count).permutation(known)[:count])


def held_out(rows: EnvironmentRows, target: str) -> HeldOutTask:
    """The task of one environment.

    Raises `BadInput` for a target that there is not, for fewer than two other environments or 10 rows in one of them,
    for outcomes that are missing there or all the same, and for features that are not finite or all constant.
    """
    there = Counter(rows.environments)
    if target not in there:
        named = ", ".join(map(one_line, list(there)[:MOST_NAMED]))
        raise BadInput(f"no row is of the environment {one_line(target)}; there are: {named}")
    others = sorted(set(there) - {target})
    if len(others) < 2:
        raise BadInput(
            f"beside the target there {'is one environment' if others else 'is none'}, from which nothing says what "
            "moves; give rows of two others or more"
        )
    if (few := next((one for one in others if there[one] < FEWEST), None)) is not None:
        raise BadInput(f"the environment {one_line(few)} has {there[few]} rows, too few to learn from; give {FEWEST}")
    source = np.array([one != target for one in rows.environments])
    outcomes, places = np.array(rows.outcomes), np.array(rows.environments)
    classes = sorted(set(outcomes[source].tolist()))
    if "" in classes:
        missing = rows.names[int(np.flatnonzero(source & (outcomes == ""))[0])]
        raise BadInput(f"row {one_line(missing)} has no outcome and is not of the target; leave it out")
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise BadInput(
            f"the outcome has {len(classes)} different values beside the target; give classes, 2 to {MOST_CLASSES}"
        )
    features = _standardised(rows.features, source)
    numbers_of = {one: k for k, one in enumerate(classes)} | {"": -1}
    numbered = np.array([numbers_of.get(one, len(classes)) for one in rows.outcomes])
    known = RowBatch(
        features[source], torch.from_numpy(numbered[source]), torch.from_numpy(np.searchsorted(others, places[source]))
    )
    names = tuple(one for one, kept in zip(rows.names, source, strict=True) if not kept)
    return HeldOutTask(known, tuple(others), tuple(classes), features[~source], names, numbered[~source])


def read_rows(path: Path, environment: str, outcome: str, unit: str, covariates: tuple[str, ...]) -> EnvironmentRows:
    """Rows of a table, with the covariates for features; none makes features of no column.

    Args:
        path: of the table.
        environment: column of each row's environment.
        outcome: column of classes, empty where they are not known.
        unit: column of names, all different; empty numbers the rows from 1.
        covariates: columns of numbers.

    Raises `BadInput` for columns that there are not, for names that are there twice, for rows without an environment
    and for covariates that are no number.
    """
    table = read_table_file(path)
    places, outcomes = (_texts(column(table, one, path)) for one in (environment, outcome))
    names = _texts(column(table, unit, path)) if unit else tuple(str(k + 1) for k in range(len(places)))
    if len(set(names)) < len(names):
        twice = next(one for one, count in Counter(names).items() if count > 1)
        raise BadInput(f"{path} has the row {one_line(twice)} twice in column {unit}; leave one of each")
    if "" in places:
        raise BadInput(f"row {one_line(names[places.index('')])} of {path} has no environment; leave such rows out")
    features = [numbers(table, one, path) for one in covariates]
    stacked = np.stack(features, 1) if features else np.empty((len(names), 0))
    return EnvironmentRows(names, places, outcomes, stacked)


def _texts(cells: Sequence[object]) -> tuple[str, ...]:
    """Whole numbers without a point: a column with an empty cell is read as numbers with one."""
    missing = pd.Series(cells, dtype=object).isna()
    whole = (int(one) if isinstance(one, float) and not gone and one.is_integer() else one
             for one, gone in zip(cells, missing, strict=True))  # fmt: skip
    return tuple("" if gone else str(one).strip() for one, gone in zip(whole, missing, strict=True))


def _standardised(features: Float[ndarray, "n d"], source: ndarray) -> Float[Tensor, "n k"]:
    if not features.shape[1]:
        raise BadInput("there are no features to predict from; give pictures, features or covariates")
    if not np.isfinite(features).all():
        raise BadInput("features of rows are not finite; give numbers for all of them")
    mean, spread = features[source].mean(0), features[source].std(0)
    varying = spread > 1e-12 * np.maximum(np.abs(mean), 1e-30)
    if not varying.any():
        raise BadInput("no feature differs between the rows that are learnt from; give others")
    # What never varied there says nothing of outcomes, and would be divided by 0.
    return torch.from_numpy((features[:, varying] - mean[varying]) / spread[varying]).float()
