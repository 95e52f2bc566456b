"""The result of an evaluation: attribution methods beside each other on one network, at the same layers.

`evaluation.safetensors` in the run's folder has the aggregate maps, and in its metadata a note of the rest;
`evaluation.csv` has a line a row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.explain.family import Attributor
from intaglio.explain.pointing_grids import POINTED
from intaglio.explain.trials import TrialAnswers
from intaglio.metrics.localisation import BINS, aggregated
from intaglio.metrics.statistics.interval import interval
from intaglio.runs.stored_table import StoredTable

FILE, TABLE = "evaluation.safetensors", "evaluation.csv"
MEASURED = ("insertion", "deletion", "chance", "gridpg", "difull", "sanity")
COLUMNS = ["row", "layer", *(f"{name}{end}" for name in MEASURED for end in ("", "_low", "_high")), "passes"]
SIDE = 64
"""Places of a side of an aggregate map."""
INPUT = "input"
"""In place of a layer's name, where the picture itself is explained."""
DEFAULT = "default"
"""The same, where a method looks inside and its settings choose the layer."""


def rows_of(methods: Mapping[str, Attributor], layers: Sequence[str], kernel: int) -> dict[str, Attributor]:
    """The rows of an evaluation by name: each method as it is, and where it can also smoothed and at layers.

    A method that always looks at a layer has rows at the layers alone.

    Args:
        methods: by name, with their settings.
        layers: names of modules of the network.
        kernel: side of the Gaussian for those that smooth; 0 leaves these rows out.
    """
    rows = dict[str, Attributor]()
    for name, method in methods.items():
        own = {one.name for one in fields(method)}
        if not (method.looks_inside and "layer" in own and layers):
            rows[name] = method
        if "smooth" in own and kernel:
            rows[f"{name} smooth {kernel}"] = replace(method, **{"smooth": kernel})
        if "layer" in own:
            rows |= {f"{name} at {layer}": replace(method, **{"layer": layer}) for layer in layers}
    return rows


def layer_of(method: Attributor) -> str:
    """The layer that is explained: its name, `input`, or `default` of a method that looks inside."""
    return getattr(method, "layer", "") or (DEFAULT if method.looks_inside else INPUT)


@dataclass(frozen=True, eq=False)
class EvaluatedRow:
    """One method with its settings."""

    name: str
    layer: str
    figures: Mapping[str, tuple[float, ...]]
    """By the names of `MEASURED`: one a picture, or one a grid and corner; empty where the network allows none."""
    passes: float
    """Pictures through the network for a map, a mean."""
    pointed: Float[Tensor, "b s s"]
    """Aggregate maps of the grids' first corners, from the best to the worst localised."""
    split: Float[Tensor, "b s s"]
    """The same where nothing outside the corner can matter; NaN where the network cannot be split."""

    @classmethod
    def of(cls, name: str, method: Attributor, found: TrialAnswers) -> "EvaluatedRow":
        """The row of a method's answers."""
        figures = {key: tuple(getattr(found, key)) for key in MEASURED}
        passes = float(np.mean(found.passes))
        strips = (_strip(found.pointed, found.gridpg), _strip(found.split, found.difull))
        return cls(name, layer_of(method), figures, passes, *strips)

    def mean(self, name: str) -> float | None:
        """Mean of a figure; None where there is none."""
        values = self.figures[name]
        return float(np.mean(values)) if values else None

    def bounds(self, name: str) -> tuple[float | None, float | None]:
        """95% interval of the mean, by resampling pictures or grids; none for fewer than two."""
        values = np.array(self.figures[name])
        if name in ("gridpg", "difull"):  # the corners of a grid are of the same pictures
            values = values.reshape(-1, len(POINTED)).mean(1)
        return interval(lambda drawn: drawn.mean(-1), [values]) if len(values) > 1 else (None, None)


def _strip(maps: Tensor, localisation: Sequence[float]) -> Tensor:
    if not len(localisation):
        return torch.full((len(BINS) - 1, SIDE, SIDE), torch.nan)
    corner = slice(None, None, len(POINTED))
    found = aggregated(maps[corner], localisation[corner])
    return torch.nn.functional.interpolate(found[:, None], (SIDE, SIDE), mode="area")[:, 0]


@dataclass(frozen=True, eq=False)
class MethodComparison(StoredTable):
    """Attribution methods on one network: how faithful their maps are, and whether they lie where they must."""

    file: ClassVar[str] = FILE
    table: ClassVar[str] = TABLE
    remedy: ClassVar[str] = "the same command evaluates again"

    head: str
    pictures: int
    grids: int
    compared: tuple[EvaluatedRow, ...]

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return "Attribution methods on one network"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @property
    def statement(self) -> str:
        """The outcome in a sentence."""
        best, placed = (max(self.compared, key=lambda one, by=by: one.mean(by) or 0) for by in ("insertion", "gridpg"))
        found = (
            f"Of {len(self.compared)} rows, {best.name} has the highest insertion ({best.mean('insertion'):.2f}; by "
            f"chance {best.mean('chance'):.2f}), ahead of {len(self.behind(best))} beyond the intervals"
        )
        if placed.mean("gridpg") is None:
            return f"{found}; the pictures make no grid."
        return f"{found}, and {placed.name} lies best in grids ({placed.mean('gridpg'):.0%} in the right quarter)."

    def behind(self, best: EvaluatedRow) -> list[str]:
        """Rows whose insertion lies below another's, by the interval of the difference over the same pictures."""
        mine, found = np.array(best.figures["insertion"]), list[str]()
        for one in self.compared:
            ahead = mine - np.array(one.figures["insertion"])
            if one is not best and len(ahead) > 1 and interval(lambda drawn: drawn.mean(-1), [ahead])[0] > 0:
                found.append(one.name)
        return found

    @property
    def no_better_than_chance(self) -> list[str]:
        """Rows whose insertion is not above that of random orders, by the interval of the difference."""
        found = list[str]()
        for one in self.compared:
            ahead = np.array(one.figures["insertion"]) - np.array(one.figures["chance"])
            low = interval(lambda drawn: drawn.mean(-1), [ahead])[0] if len(ahead) > 1 else ahead.mean()
            if low <= 0:
                found.append(one.name)
        return found

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a row; the keys are `COLUMNS`."""
        found = list[dict[str, Any]]()
        for one in self.compared:
            row: dict[str, Any] = {"row": one.name, "layer": one.layer}
            for name in MEASURED:
                row[name] = one.mean(name)
                row[f"{name}_low"], row[f"{name}_high"] = one.bounds(name)
            found.append({**row, "passes": one.passes})
        return found

    def figures(self) -> dict[str, Any]:
        """Counts, and the highest insertion and share in grids."""
        placed = [share for one in self.compared if (share := one.mean("gridpg")) is not None]
        return {
            "rows": len(self.compared),
            "pictures": self.pictures,
            "grids": self.grids,
            "insertion_best": max(one.mean("insertion") or 0.0 for one in self.compared),
            "gridpg_best": max(placed, default=None),
        }

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        about = {
            "head": self.head,
            "pictures": self.pictures,
            "grids": self.grids,
            "rows": [row_to_state(one)[1] for one in self.compared],
        }
        strips = {
            f"{kind}.{k}": getattr(one, kind) for k, one in enumerate(self.compared) for kind in ("pointed", "split")
        }
        return strips, about

    @classmethod
    def _of(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> "MethodComparison":
        strips = [(tensors[f"pointed.{k}"], tensors[f"split.{k}"]) for k in range(len(about["rows"]))]
        rows = tuple(row_from_state(one, *pair) for one, pair in zip(about["rows"], strips, strict=True))
        if not rows:
            raise ValueError("there are no rows")
        return cls(str(about["head"]), int(about["pictures"]), int(about["grids"]), rows)


def row_from_state(about: Mapping[str, Any], pointed: Tensor, split: Tensor) -> EvaluatedRow:
    """A stored row."""
    figures = {name: tuple(float(one) for one in about["figures"][name]) for name in MEASURED}
    if not figures["insertion"] or pointed.dim() != 3 or pointed.shape != split.shape:
        raise ValueError("a row has no figures")
    return EvaluatedRow(str(about["name"]), str(about["layer"]), figures, float(about["passes"]), pointed, split)


def row_to_state(row: EvaluatedRow) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A row as tensors and plain values: the inverse of `row_from_state`."""
    about = {name: value for name, value in asdict(row).items() if name not in ("pointed", "split")}
    return {"pointed": row.pointed, "split": row.split}, about
