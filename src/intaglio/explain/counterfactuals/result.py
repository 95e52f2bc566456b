"""The result of attributes that were set: their values in each picture, as told and as measured, before and after.

`counterfactuals.safetensors` in the run's folder has the numbers as arrays, and in its metadata a note of the rest;
`counterfactuals.csv` has a line for each picture and attribute; `images/PART-PICTURE.png` are the pictures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from intaglio.metrics.statistics.interval import Interval, interval
from intaglio.runs.stored_table import StoredTable

FILE, TABLE = "counterfactuals.safetensors", "counterfactuals.csv"
MEASURED = ("measured", "measured_before", "measured_after")
COLUMNS = ["picture", "attribute", "label", "before", "after", *MEASURED, "held_out"]
PARTS = ("original", "before", "after")
"""Pictures: as given, drawn again from what was read off, and drawn after attributes are set."""
ARRAYS = ("low", "range", "labels", "held", "before", "after", "measured")
FEW = 100
"""Pictures to learn from, below which that is told."""
FEW_LABELS = 30
"""Pictures whose labels are learnt, where others have none, below which that is told."""
MISREAD = 0.1
"""Mean distance of read values from labels, as a share of the range, beyond which that is told."""
UNTRUE = 0.1
"""Mean distance of measured values from told ones, as a share of the range, beyond which that is told."""
LOOSE = 0.8
"""Share of the variance that a measure must explain, below which it is told to be a weak one."""


@dataclass(frozen=True, eq=False)
class Counterfactuals(StoredTable):
    """Pictures of which attributes were set, with values in the table's units."""

    file: ClassVar[str] = FILE
    table: ClassVar[str] = TABLE
    remedy: ClassVar[str] = "the same command makes the pictures again"

    method: str
    reading: str
    names: tuple[str, ...]
    """Of the d attributes."""
    edges: tuple[tuple[str, str], ...]
    """Of the graph, as (cause, effect)."""
    changes: Mapping[str, float]
    """Values that attributes were set to."""
    pictures: tuple[str, ...]
    """Names of the n pictures that were made."""
    learnt_from: int
    """Pictures that the networks have learnt from."""
    taught: int
    """Those of them whose labels were learnt."""
    low: Float[ndarray, "d"]
    range: Float[ndarray, "d"]
    """Greatest value of the table less its least."""
    measures: tuple[str, ...]
    """Measure of each attribute; empty where it is not measured."""
    fits: tuple[float, ...]
    """Share of an attribute's variance that the line from its measure explains; NaN where it is not measured."""
    labels: Float[ndarray, "n d"]
    """NaN where a picture has none."""
    held: Bool[ndarray, "n"]
    """Pictures whose labels were not learnt, and judge what is read off; none where all pictures have labels."""
    before: Float[ndarray, "n d"]
    """Values as read off the pictures."""
    after: Float[ndarray, "n d"]
    """Values after some are set."""
    measured: Float[ndarray, "3 n d"]
    """Measured values, by `PARTS`; NaN where an attribute is not measured."""

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Pictures with {self.asked} by {self.method}"

    @property
    def asked(self) -> str:
        """The attributes that were set, with their values, in words."""
        return ", ".join(f"{name} = {value:g}" for name, value in self.changes.items())

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @property
    def judges(self) -> Bool[ndarray, "n"]:
        """Pictures by whose labels reading is judged: those held out, or all with labels where none is."""
        return self.held if self.held.any() else np.asarray(~np.isnan(self.labels).any(1))

    @property
    def misread(self) -> Float[ndarray, "d"]:
        """Mean distance of values as read from the labels of the judges, as a share of the range."""
        return np.abs((self.before - self.labels) / self.range)[self.judges].mean(0)

    def errors(self, part: str) -> Float[ndarray, "n d"]:
        """Distance of measured values from told ones in pictures of a part, as a share of the range."""
        told = {"original": self.labels, "before": self.before, "after": self.after}[part]
        return np.abs((self.measured[PARTS.index(part)] - told) / self.range)

    def error(self, place: int, part: str = "after") -> tuple[float, Interval]:
        """Mean of `errors` of an attribute over pictures, labelled ones of those as given, with its 95% interval."""
        errors = self.errors(part)[:, place]
        errors = errors[~np.isnan(errors)]
        return float(errors.mean()), interval(lambda drawn: drawn.mean(-1), [errors])

    @property
    def measured_places(self) -> list[int]:
        """Places of the attributes that are measured."""
        return [k for k, one in enumerate(self.measures) if one]

    @property
    def statement(self) -> str:
        """The outcome in sentences."""
        moved = np.abs(self.after - self.before).mean(0) / self.range
        words = [
            f"{name} by {moved[k]:.2f} of its range" for k, name in enumerate(self.names) if name not in self.changes
        ]
        found = f"{self.asked} in {len(self.pictures)} pictures; the others {self.reading}"
        found += f": {', '.join(words)}." if words else "."
        errors = []
        for k in self.measured_places:
            mean, (low, high) = self.error(k)
            errors.append(f"{mean:.2f} ({low:.2f} to {high:.2f}) of the range of {self.names[k]}")
        if errors:
            found += f" What is measured in the pictures is off what is told by {', '.join(errors)}."
        return f"{found} {self._judged}" if self.held.any() or self.taught < self.learnt_from else found

    @property
    def _judged(self) -> str:
        """Distance of values read off from labels, of those that were not learnt where there are any, in a sentence."""
        read = ", ".join(f"{name} by {self.misread[k]:.2f} of its range" for k, name in enumerate(self.names))
        count = int(self.judges.sum())
        whose = f"those whose labels were held out ({count})"
        if not self.held.any():
            whose = f"{count} of these, for want of labels to hold out,"
        return (
            f"Labels of {self.taught} of {self.learnt_from} pictures were learnt; values read off {whose} miss {read}."
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons for which a picture is not to be trusted."""
        found = []
        if self.learnt_from < FEW:
            found.append(f"{self.learnt_from} pictures are few to learn from; give {FEW} or more")
        if (poor := self.taught < self.learnt_from) and self.taught < FEW_LABELS:
            found.append(f"labels of {self.taught} pictures are few to learn from; give {FEW_LABELS} or more")
        if poor and not self.held.any():
            found.append("reading is judged by labels that were learnt, for want of others; give more labels")
        for name, value in self.changes.items():
            k = self.names.index(name)
            low, high = float(self.low[k]), float(self.low[k] + self.range[k])
            if not low <= value <= high:
                found.append(f"{name} = {value:g} is beyond what was learnt, {low:g} to {high:g}")
        for k, name in enumerate(self.names):
            if self.misread[k] > MISREAD:
                found.append(
                    f"{name} is read off pictures with an error of {self.misread[k]:.2f} of its range; give more "
                    f"{'labels' if poor else 'pictures'} or --updates"
                )
        for k in self.measured_places:
            name, mean = self.names[k], self.error(k)[0]
            if self.fits[k] < LOOSE:
                found.append(
                    f"{self.measures[k]} explains {max(0.0, self.fits[k]):.2f} of the variance of {name}, so that its "
                    "measured values say little; choose another --measure"
                )
            elif mean > UNTRUE:
                found.append(
                    f"the pictures show {name} {mean:.2f} of its range off what is told, and those drawn again as they "
                    f"are {self.error(k, 'before')[0]:.2f}; give more pictures or --updates"
                )
        return tuple(found)

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a picture and attribute; the keys are `COLUMNS`, and what is not measured is None."""
        found = []
        for n, picture in enumerate(self.pictures):
            for k, name in enumerate(self.names):
                told = {"label": self.labels[n, k], "before": self.before[n, k], "after": self.after[n, k]}
                seen = dict(zip(MEASURED, self.measured[:, n, k], strict=True))
                numbers = {key: _number(float(one)) for key, one in {**told, **seen}.items()}
                found.append({"picture": picture, "attribute": name, **numbers, "held_out": bool(self.held[n])})
        return found

    def attribute_rows(self) -> list[dict[str, Any]]:
        """One mapping an attribute: its causes, means before and after, and errors as shares of the range."""
        found = []
        for k, name in enumerate(self.names):
            row: dict[str, Any] = {"attribute": name, "causes": [one for one, effect in self.edges if effect == name]}
            row |= {"set": self.changes.get(name), "range": float(self.range[k]), "misread": float(self.misread[k])}
            row |= {"before": float(self.before[:, k].mean()), "after": float(self.after[:, k].mean())}
            for part in PARTS if k in self.measured_places else ():
                row[f"measured_{part}"] = float(self.measured[PARTS.index(part), :, k].mean())
                mean, bounds = self.error(k, part)
                row |= {f"error_{part}": mean, f"error_{part}_interval": list(bounds)}
            found.append(row)
        return found

    def figures(self) -> dict[str, Any]:
        """Counts, and the figures of each attribute."""
        attributes = {row.pop("attribute"): row for row in self.attribute_rows()}
        counts = {"pictures": len(self.pictures), "learnt_from": self.learnt_from, "labels_learnt": self.taught}
        return {**counts, "judges": int(self.judges.sum()), "attributes": attributes}

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        names = ("method", "reading", "names", "edges", "pictures", "learnt_from", "taught", "measures")
        about = {name: getattr(self, name) for name in names}
        about |= {"changes": list(self.changes.items()), "fits": [_number(one) for one in self.fits]}
        return {name: torch.from_numpy(getattr(self, name).copy()) for name in ARRAYS}, about

    @classmethod
    def _of(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> "Counterfactuals":
        arrays: dict[str, Any] = {name: tensors[name].numpy() for name in ARRAYS}
        names, pictures, measures = (tuple(map(str, about[one])) for one in ("names", "pictures", "measures"))
        fits = tuple(float("nan") if one is None else float(one) for one in about["fits"])
        count, places = len(pictures), len(names)
        shapes = [arrays[name].shape for name in ("labels", "before", "after", "measured", "low", "range", "held")]
        fitting = [(count, places)] * 3 + [(3, count, places), (places,), (places,), (count,)]
        if not count or not places or shapes != fitting or (len(measures), len(fits)) != (places, places):
            raise ValueError("pictures and attributes do not fit each other")
        edges = tuple((str(one), str(two)) for one, two in about["edges"])
        changes = {str(name): float(value) for name, value in about["changes"]}
        if not {*changes, *(one for edge in edges for one in edge)} <= set(names):
            raise ValueError("the graph and the attributes do not fit each other")
        return cls(
            method=str(about["method"]), reading=str(about["reading"]), names=names, edges=edges, changes=changes,
            pictures=pictures, learnt_from=int(about["learnt_from"]), taught=int(about["taught"]), measures=measures,
            fits=fits, **arrays,
        )  # fmt: skip


def _number(value: float) -> float | None:
    """NaN as none, which JSON has."""
    return None if isnan(value) else value
