"""Points of series that a classifier goes by, and the checks of them; stored and read again.

`series.safetensors` in the run's folder has series, importances and curves; `series.csv` a line a held-out series.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from intaglio.explain.series.landmarks import Landmarks
from intaglio.explain.series.point_checks import area
from intaglio.metrics.statistics.interval import interval
from intaglio.runs.stored_table import StoredTable

PLAIN = ("method", "reading", "classes", "channels", "times", "learnt", "window", "names", "swap_auc")
ARRAYS = ("truth", "called", "removed", "by_chance", "ranks")
OF_LANDMARKS = ("places", "cosines")
FEW = 10
"""Held-out series below which the result warns."""
COLUMNS = [
    "series", "truth", "called", "first_time", "first_channel", "share_of_first", "removal", "by_chance", "rank",
    "landmark",
]  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class ExplainedPoints(StoredTable):
    """Importances of the points of held-out series, by one method."""

    file: ClassVar[str] = "series.safetensors"
    table: ClassVar[str] = "series.csv"
    remedy: ClassVar[str] = "the same command explains again"

    method: str
    reading: str
    classes: tuple[str, ...]
    channels: tuple[str, ...]
    times: tuple[float, ...]
    """As the series told them, or counted from 0."""
    learnt: int
    """Series that the classifier learnt from."""
    window: int
    """Times that were swapped together."""
    names: tuple[str, ...]
    """Of the held-out series."""
    values: Float[Tensor, "m t d"]
    """As they were given."""
    importances: Float[Tensor, "m t d"]
    truth: Int[ndarray, "m"]
    called: Int[ndarray, "m"]
    removed: Float[ndarray, "m 11"]
    """Probability of the called class while points are replaced, the most important first."""
    by_chance: Float[ndarray, "m 11"]
    """The same in an order by chance."""
    ranks: Float[ndarray, "m"]
    """Rank correlation of a time's importance and the effect of its swap."""
    swap_auc: float | None
    """Mean area under the ROC curve of times whose swap changes the call; None where none does."""
    landmarks: Landmarks | None = None
    """Groups of the held-out series; None where the method makes none."""

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Points of series by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @property
    def accuracy(self) -> float:
        """Mean over classes of the share of held-out series that are called right."""
        right = self.truth == self.called
        return float(np.mean([right[self.truth == code].mean() for code in np.unique(self.truth)]))

    @property
    def gained(self) -> Float[ndarray, "m"]:
        """Area under the curve by chance less that under the curve of the method, of each series."""
        return area(self.by_chance) - area(self.removed)

    @property
    def statement(self) -> str:
        """The outcome in a sentence."""
        low, high = _bounds(self.gained)
        found = (
            f"Without the points that {self.method} says come first, the called class loses its probability sooner "
            f"than by chance by {self.gained.mean():.3f} of the area (95% {low:.3f} to {high:.3f}); importance of a "
            f"time and effect of its swap have a rank correlation of {self.ranks.mean():.2f}. The classifier calls "
            f"{self.accuracy:.0%} of held-out series right."
        )
        return found if self.landmarks is None else f"{found} {self._grouped}"

    @property
    def _grouped(self) -> str:
        figures = self.landmark_figures()
        return (
            f"By what the masks leave of them, series gather about {figures['landmarks']} landmarks: "
            f"{figures['purity']:.0%} of series are of the class that most series of their landmark have, by chance "
            f"{figures['purity_by_chance']:.0%}."
        )

    @property
    def warnings(self) -> list[str]:
        """Sentences on what the result cannot be trusted for."""
        found = []
        chance = 1 / len(self.classes)
        if self.accuracy < (1 + chance) / 2 - 0.1:
            found.append(
                f"the classifier calls {self.accuracy:.0%} of held-out series right, by chance {chance:.0%}: points "
                "that it goes by say little of the classes; give more series, or more --updates"
            )
        if _bounds(self.gained)[0] <= 0:
            found.append(
                "an order by chance takes the called class as soon, so that the importances say nothing; give more "
                "--updates, or another method"
            )
        if _bounds(self.ranks)[0] <= 0:
            found.append("importances of times do not go with what their swap changes")
        if len(self.names) < FEW:
            found.append(f"{len(self.names)} held-out series are few to check importances by; give more series")
        return found

    def first_points(self) -> list[tuple[int, int]]:
        """Places of the time and the channel of the most important point of each series."""
        return [divmod(int(one.argmax()), len(self.channels)) for one in self.importances]

    def first_times(self) -> Int[ndarray, "m"]:
        """The most important time of each series, from 0."""
        return self.importances.mean(2).argmax(1).numpy()

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a held-out series; the keys are `COLUMNS`."""
        weights = self.importances.mean(2).clamp_min(0)
        shares = (weights.amax(1) / weights.sum(1).clamp_min(1e-12)).tolist()
        removal, chance, firsts = area(self.removed), area(self.by_chance), self.first_points()
        return [
            {
                "series": name,
                "truth": self.classes[int(self.truth[k])],
                "called": self.classes[int(self.called[k])],
                "first_time": self.times[firsts[k][0]],
                "first_channel": self.channels[firsts[k][1]],
                "share_of_first": shares[k],
                "removal": float(removal[k]),
                "by_chance": float(chance[k]),
                "rank": float(self.ranks[k]),
                "landmark": None if self.landmarks is None else int(self.landmarks.places[k]) + 1,
            }
            for k, name in enumerate(self.names)
        ]

    def figures(self) -> dict[str, Any]:
        """Accuracy of the classifier, and both checks with 95% intervals over series."""
        return {
            "series": len(self.names),
            "learnt": self.learnt,
            "accuracy": self.accuracy,
            "removal": float(area(self.removed).mean()),
            "removal_by_chance": float(area(self.by_chance).mean()),
            "gained": float(self.gained.mean()),
            "gained_interval": list(_bounds(self.gained)),
            "swap_rank": float(self.ranks.mean()),
            "swap_rank_interval": list(_bounds(self.ranks)),
            "swap_auc": self.swap_auc,
            **self.landmark_figures(),
        }

    def landmark_figures(self) -> dict[str, Any]:
        """The number of landmarks and their purity in classes; nothing where there are none."""
        if self.landmarks is None:
            return {}
        purity, chance = self.landmarks.purity(self.truth), self.landmarks.purity_by_chance(self.truth)
        return {"landmarks": len(self.landmarks.counts), "purity": purity, "purity_by_chance": chance}

    def _parts(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        tensors = {name: torch.from_numpy(np.ascontiguousarray(getattr(self, name))) for name in ARRAYS}
        about = {name: list(one) if isinstance(one := getattr(self, name), tuple) else one for name in PLAIN}
        if self.landmarks is not None:
            tensors |= {name: torch.from_numpy(getattr(self.landmarks, name)) for name in OF_LANDMARKS}
        return {**tensors, "values": self.values, "importances": self.importances}, about

    @classmethod
    def _of(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> "ExplainedPoints":
        arrays = {name: tensors[name].numpy() for name in ARRAYS}
        values, importances, names = tensors["values"], tensors["importances"], tuple(map(str, about["names"]))
        classes, channels = (tuple(map(str, about[name])) for name in ("classes", "channels"))
        times = tuple(map(float, about["times"]))
        if values.shape != importances.shape or values.shape[1:] != (len(times), len(channels)) or len(classes) < 2:
            raise ValueError("importances do not fit the series")
        if any(len(one) != len(names) for one in (values, *arrays.values())) or not names:
            raise ValueError("the series are not as many as their names")
        landmarks = Landmarks(*(tensors[name].numpy() for name in OF_LANDMARKS)) if "places" in tensors else None
        if landmarks and {len(landmarks.places), len(landmarks.cosines)} != {len(names)}:
            raise ValueError("the landmarks are not those of the series")
        auc = about["swap_auc"]
        return cls(
            method=str(about["method"]), reading=str(about["reading"]), classes=classes, channels=channels,
            times=times, learnt=int(about["learnt"]), window=int(about["window"]), names=names, values=values,
            importances=importances, swap_auc=None if auc is None else float(auc), landmarks=landmarks, **arrays,
        )  # fmt: skip


def _bounds(values: Sequence[float] | Float[ndarray, "m"]) -> tuple[float, float]:
    """Of the mean over series, 95%."""
    return interval(lambda sample: sample.mean(-1), [np.asarray(values)])
