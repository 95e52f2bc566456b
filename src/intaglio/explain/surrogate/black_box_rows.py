"""Rows that a black box answered: their features by column, and the probability that it gave each class."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from intaglio.errors import BadInput
from intaglio.explain.picture_columns import NamedRows, read_named_rows
from intaglio.images.captions import ByName
from intaglio.printable import one_line

FEWEST = 40
"""Rows at least."""
MOST_CELLS = 10**8
"""Numbers of a table of features, 0.4 GB."""
SUM_ERROR = 0.01
"""By which the probabilities of a row may miss 1."""

Ask = Callable[[Float[ndarray, "m d"]], Float[ndarray, "m k"]]
"""Features to the black box's probabilities."""


@dataclass(frozen=True, eq=False, kw_only=True)
class BlackBoxRows:
    """Rows with features and a black box's answers."""

    names: tuple[str, ...]
    columns: tuple[str, ...]
    features: Float[ndarray, "n d"]
    """Float32, as trees compare them."""
    classes: tuple[str, ...]
    probabilities: Float[ndarray, "n k"]
    ask: Ask | None = None
    """The black box, where it answers about rows of other features."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def called(self) -> Int[ndarray, "n"]:
        """Place of each row's likeliest class."""
        return self.probabilities.argmax(1)

    def check(self) -> None:
        """Raises `BadInput` for too few rows, for numbers that are no probabilities, and where nothing differs."""
        count, wide = self.features.shape
        if count < FEWEST:
            raise BadInput(f"{count} rows are too few to fit and to test rules on; give at least {FEWEST}")
        if count * wide > MOST_CELLS:
            raise BadInput(f"{count:,} rows of {wide:,} features are more than {MOST_CELLS:,} numbers; leave some out")
        if not np.isfinite(self.features).all():
            raise BadInput("a feature is not a finite number of 32 bits; leave out its row or its column")
        wrong = np.abs(self.probabilities.sum(1) - 1) > SUM_ERROR
        wrong |= (self.probabilities < 0).any(1) | ~np.isfinite(self.probabilities).all(1)
        if wrong.any():
            name = one_line(self.names[int(np.flatnonzero(wrong)[0])])
            raise BadInput(f"the predictions of {name} are no probabilities that sum to 1; give one a class and row")
        if float(np.ptp(self.probabilities, axis=0).max()) < 1e-6:
            raise BadInput("the black box gives all rows the same answer, so that nothing tells them apart")
        if not bool((np.ptp(self.features, axis=0) > 0).any()):
            raise BadInput("no feature differs between rows; give others")


def read_rows(features: Path, predictions: Path) -> BlackBoxRows:
    """Rows from a table of features and one of predictions, joined by their names; those of the predictions are taken.

    Args:
        features: a CSV file with a column `picture` of the rows' names and numbers, or an `.npz` with `names` [m] and
            `features` [m, d], whose columns are called by their numbers.
        predictions: a CSV file with a column `picture`, and a column of probabilities a class, which sum to 1; a single
            one is that of its class against none.

    Raises `BadInput` for a file that is no such table, and for a row without features.
    """
    answers, given = read_named_rows(predictions), read_named_rows(features)
    places = ByName({name: k for k, name in enumerate(given.names)})
    found = [places.get(name) for name in answers.names]
    if None in found:
        missing = one_line(answers.names[found.index(None)])
        raise BadInput(f"{features} has no row for {missing}; give features of every row of the predictions")
    rows = given.rows[np.array(found, dtype=int)]
    return BlackBoxRows(
        names=answers.names,
        columns=given.columns,
        features=rows.astype(np.float32),
        classes=_classes(answers),
        probabilities=_probabilities(answers),
    )


def _classes(answers: NamedRows) -> tuple[str, ...]:
    name, *others = answers.columns
    return (name, *others) if others else (name, f"not {name}")


def _probabilities(answers: NamedRows) -> Float[ndarray, "n k"]:
    if len(answers.columns) > 1:
        return answers.rows
    return np.concatenate([answers.rows, 1 - answers.rows], 1)


def numbered(count: int, word: str) -> Sequence[str]:
    """Names of columns without any, such as `channel 3`, from 0."""
    return [f"{word} {k}" for k in range(count)]
