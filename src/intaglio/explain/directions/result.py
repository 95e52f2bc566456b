"""Found directions, and pictures that were led along them; both stored and read again.

`directions.safetensors` in the run's folder has the shifts with a note of all that leads pictures by them; the numbers
of the pictures are in `led.json`, and `directions.csv` has a line for each direction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.stats import rankdata
from torch import Tensor

from intaglio.data_files import read_json
from intaglio.errors import BadInput
from intaglio.files import atomic_write
from intaglio.metrics.statistics.interval import interval
from intaglio.runs.plain_json import to_json
from intaglio.runs.result_table import ResultTable
from intaglio.runs.tables import rows_csv
from intaglio.runs.tensors import read_state, write_state

FILE, TABLE, LED = "directions.safetensors", "directions.csv", "led.json"
COLUMNS = [
    "direction", "number", "agreement", "change", "change_low", "change_high", "spearman", "similarity",
]  # fmt: skip
LEAST_AGREEMENT = 0.3
"""|cosine| of the halves' directions below which one is of the samples more than of the model."""
CONTROL = "random"
"""Name of the random direction as long as the first one."""


@dataclass(frozen=True, eq=False)
class Directions:
    """Shifts of a site along the steps of a sampling, by one method."""

    method: str
    reading: str
    unit: str
    number: str
    """The number of a direction in words; empty: it has none."""
    model: str
    """Fingerprint of the model that they are of."""
    site: str
    steps: int
    guidance: float
    """Of the drawings that they were found in."""
    shifts: Float[Tensor, "p k s *shape"]
    """At strength 1: of k directions at s steps; p is 1, or the number of pictures that have directions of their own.
    float32."""
    numbers: tuple[float, ...]
    """Of each direction; NaN where it has none."""
    agreement: tuple[float, ...]
    """|cosine| between directions of two halves of the samples, as a mean over steps; NaN where they have no halves."""
    seeds: tuple[int, ...] = ()
    """Of the pictures that have directions of their own."""

    @property
    def count(self) -> int:
        """Directions."""
        return self.shifts.shape[1]

    @property
    def lengths(self) -> Float[Tensor, "p k s"]:
        """Of the shifts at strength 1."""
        return self.shifts.flatten(3).norm(dim=3)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Doubts about the directions, in sentences."""
        loose = [k for k, value in enumerate(self.agreement) if not isnan(value) and value < LEAST_AGREEMENT]
        return tuple(
            f"direction {k + 1} of one half of the samples is hardly that of the other half (|cosine| "
            f"{self.agreement[k]:.2f}), so that other samples would give another one; draw more --samples"
            for k in loose
        )

    def save(self, folder: Path) -> None:
        """Writes `directions.safetensors` atomically."""
        about = {
            name: getattr(self, name)
            for name in ("method", "reading", "unit", "number", "model", "site", "steps", "guidance", "seeds")
        }
        about |= {"numbers": _nullable(self.numbers), "agreement": _nullable(self.agreement)}
        write_state(folder / FILE, {"shifts": self.shifts}, about)

    @classmethod
    def load(cls, path: Path) -> "Directions | None":
        """Those of a file, or of a run's folder; None where there is none. Raises `BadInput` for a damaged file."""
        path = path / FILE if path.is_dir() else path
        read = read_state(path)
        if read is None:
            return None
        tensors, about = read
        try:
            method, reading, unit, number, model, site = (
                str(about[name]) for name in ("method", "reading", "unit", "number", "model", "site")
            )
            shifts, steps = tensors["shifts"].float(), int(about["steps"])
            numbers, agreement = (_numbers(about[name]) for name in ("numbers", "agreement"))
            if shifts.dim() < 4 or not bool(shifts.isfinite().all()):
                raise ValueError("shifts have no steps, or are not finite")
            if shifts.shape[2] != steps or not len(numbers) == len(agreement) == shifts.shape[1] > 0:
                raise ValueError("the shifts do not fit the steps and numbers")
            seeds = tuple(int(one) for one in about["seeds"])
            walk = site, steps, float(about["guidance"])
            return cls(method, reading, unit, number, model, *walk, shifts, numbers, agreement, seeds)
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            raise BadInput(f"{path} is damaged ({error}); find the directions again") from error


@dataclass(frozen=True, eq=False)
class LedPictures(ResultTable):
    """Pictures of fixed seeds led along directions at several strengths, and how they changed.

    `images/DIRECTION-STRENGTH-PICTURE.png` has the pictures, numbered from 0; the last direction is the control, and
    strength 0 is the picture that is led nowhere, of all directions.
    """

    directions: Directions
    prompts: tuple[str, ...]
    """Of each picture."""
    seeds: tuple[int, ...]
    """Of each picture."""
    strengths: tuple[float, ...]
    """In rising order, 0 among them."""
    target: str
    """The class whose score is followed; empty: none."""
    scores: Float[ndarray, "d a n"]
    """Log-odds of the class, by direction, the control last, strength and picture; NaN without a class."""
    similarity: Float[ndarray, "d a n"]
    """With the picture that is led nowhere, by the encoder: 1 for the same."""

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Directions by {self.directions.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @property
    def names(self) -> tuple[str, ...]:
        """Of the directions, the control last."""
        return (*(f"direction {k + 1}" for k in range(self.directions.count)), CONTROL)

    @cached_property
    def spearman(self) -> Float[ndarray, "d n"]:
        """Rank correlation of strength and score, of each picture; NaN without a class."""
        return rank_correlations(self.scores)

    @cached_property
    def changes(self) -> Float[ndarray, "d n"]:
        """Score at the largest strength less that at the smallest, of each picture."""
        return self.scores[:, -1] - self.scores[:, 0]

    @property
    def kept(self) -> Float[ndarray, "d"]:
        """Similarity at the two outermost strengths, as a mean."""
        return self.similarity[:, [0, -1]].mean((1, 2))

    @property
    def strongest(self) -> int:
        """The direction that moves the score farthest, or without a class keeps least of pictures."""
        return int(np.abs(self.changes[:-1].mean(1)).argmax() if self.target else self.kept[:-1].argmin())

    @property
    def warnings(self) -> tuple[str, ...]:
        """Doubts about the directions and their effects, in sentences."""
        found = list(self.directions.warnings)
        if self.target:
            best = self.strongest
            low, high = self._interval(best)
            if low <= 0 <= high:
                found.append(
                    f"no direction moves the score of {self.target} more than the pictures differ among each other "
                    f"(at most {self.changes[best].mean():.2f}, 95% {low:.2f} to {high:.2f})"
                )
            elif abs(self.changes[-1].mean()) >= abs(self.changes[best].mean()):
                found.append(f"a random direction of this length moves the score of {self.target} as far")
        return tuple(found)

    @property
    def statement(self) -> str:
        """The outcome in a sentence."""
        best, kept = self.strongest, self.kept
        if not self.target:
            return (
                f"Direction {best + 1} changes {len(self.seeds)} pictures most: similarity {kept[best]:.2f} at the "
                f"outermost strengths, {kept[-1]:.2f} along a random direction as long as the first."
            )
        low, high = self._interval(best)
        moved, by_chance = self.changes[best].mean(), self.changes[-1].mean()
        return (
            f"Direction {best + 1} moves the log-odds of {self.target} by {moved:.2f} ({low:.2f} to {high:.2f}) from "
            f"the smallest strength to the largest, a random one as long as the first by {by_chance:.2f}; "
            f"similarity there is {kept[best]:.2f} and {kept[-1]:.2f}."
        )

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a direction, the control last; the keys are `COLUMNS`."""
        found = []
        for k, name in enumerate(self.names):
            low, high = self._interval(k)
            own = (*self.directions.numbers, nan)[k], (*self.directions.agreement, nan)[k]
            row = (name, *own, self.changes[k].mean(), low, high, np.mean(self.spearman[k]), self.kept[k])
            found.append({key: _plain(value) for key, value in zip(COLUMNS, row, strict=True)})
        return found

    def figures(self) -> dict[str, Any]:
        """Counts, and of the direction that changes most its figures beside the control's."""
        best, rows = self.strongest, self.rows()
        keys = ("change", "spearman", "similarity")
        found = {"directions": self.directions.count, "pictures": len(self.seeds), "direction": best + 1}
        return {**found, **{key: rows[best][key] for key in keys}, **{f"{key}_random": rows[-1][key] for key in keys}}

    def _interval(self, k: int) -> tuple[float, float]:
        """Of the mean change along a direction, 95% by resampling pictures; NaN without a class."""
        if not self.target:
            return nan, nan
        return interval(lambda drawn: drawn.mean(-1), [self.changes[k]])

    def save(self, folder: Path) -> None:
        """Writes `directions.safetensors`, `led.json` and `directions.csv`, each atomically."""
        self.directions.save(folder)
        about: dict[str, Any] = {name: getattr(self, name) for name in ("prompts", "seeds", "strengths", "target")}
        about |= {name: _nested(getattr(self, name)) for name in ("scores", "similarity")}
        atomic_write(folder / LED, to_json(about))
        atomic_write(folder / TABLE, rows_csv(self.rows(), COLUMNS))

    @classmethod
    def load(cls, folder: Path) -> "LedPictures | None":
        """The result stored in a run's folder; None where there is none. Raises `BadInput` for damaged files."""
        directions, path = Directions.load(Path(folder)), Path(folder) / LED
        if directions is None or not path.is_file():
            return None
        about = read_json(path)
        try:
            prompts, seeds = tuple(map(str, about["prompts"])), tuple(int(one) for one in about["seeds"])
            strengths = tuple(float(one) for one in about["strengths"])
            shape = (directions.count + 1, len(strengths), len(seeds))
            tables = [np.array(about[name], dtype=float).reshape(shape) for name in ("scores", "similarity")]
            if not seeds or len(prompts) != len(seeds) or 0.0 not in strengths:
                raise ValueError("pictures, prompts and strengths do not fit each other")
            return cls(directions, prompts, seeds, strengths, str(about["target"]), *tables)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise BadInput(f"{path} is damaged ({error}); delete it, and the same command draws again") from error


def rank_correlations(scores: Float[ndarray, "d a n"]) -> Float[ndarray, "d n"]:
    """Spearman's rank correlation of scores with their places along a; 0 where all are equal, NaN for NaN."""
    ranks = rankdata(scores, axis=1) - (scores.shape[1] + 1) / 2
    places = np.arange(scores.shape[1]) - (scores.shape[1] - 1) / 2
    products = np.einsum("dan,a->dn", ranks, places)
    sizes = np.sqrt((ranks**2).sum(1) * (places**2).sum())
    found = np.divide(products, sizes, out=np.zeros_like(products), where=sizes > 0)
    return np.where(np.isnan(scores).any(1), nan, found)


def _nullable(values: Sequence[float]) -> list[float | None]:
    """NaN as none, which JSON has."""
    return [None if isnan(value) else float(value) for value in values]


def _numbers(values: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(nan if value is None else float(value) for value in values)


def _nested(values: Float[ndarray, "d a n"]) -> list[Any]:
    return [[_nullable(row.tolist()) for row in table] for table in values]


def _plain(value: Any) -> Any:
    """A value of a row: none for NaN."""
    if isinstance(value, str):
        return value
    return None if np.isnan(value) else float(value)
