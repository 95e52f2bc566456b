"""Series explainers: the contract of a method that tells which points of a series a classifier goes by."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.errors import BadInput, IntaglioError, require
from intaglio.explain.series.labelled_series import LabelledSeries
from intaglio.explain.series.landmarks import Landmarks
from intaglio.explain.series.point_checks import partners_of, removal_curves, swapped_times
from intaglio.explain.series.result import ExplainedPoints
from intaglio.explain.series.series_network import Series, SeriesNetwork
from intaglio.explain.series.taught_series import CLASSIFIER, SeriesLessons, SeriesPace, encoded, taught_network
from intaglio.printable import one_line
from intaglio.randomness import generator
from intaglio.runs.run import Run
from intaglio.verbs import FileName

FEWEST_TIMES, LEAST = 3, 5
"""Times of a series, and series of a class, at least."""


@dataclass(frozen=True, eq=False)
class FoundPoints:
    """Importances of points, and what a method may tell beside them."""

    importances: Series
    landmarks: Landmarks | None = None
    """Groups of the series; None where the method makes none."""


@dataclass(frozen=True, kw_only=True)
class SeriesExplainer(ABC):
    """A way to tell which points of a series a classifier goes by.

    A small transformer is taught the classes on all but one of F parts of the series, whole groups together, and asked
    about that one, whose series are explained. An importance is given to each point, a time of a channel; the
    importance of a time is the mean over its channels. Two checks say whether it is so of this classifier. Points are
    replaced, the
    most important first, by draws from a normal distribution with the mean and deviation of their time and channel: the
    probability of the called class should fall sooner than in an order by chance. And a few times around each one are
    swapped for those of a series that is called something else: where the log-odds fall, importance should be high.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """An importance in words, as the end of a sentence that begins "An importance is"."""

    states: ClassVar[tuple[str, ...]] = (CLASSIFIER,)
    """Names of the trainings' states."""

    width: int = 32
    """Numbers of a time in the classifier, an even number from 2 to 1024."""
    layers: int = 1
    """Layers of the classifier, 1 to 12."""
    updates: int = 400
    """Updates of the classifier, from 1."""
    rows: int = 64
    """Series of an update, from 1."""
    learning_rate: float = 1e-3
    """Highest learning rate of AdamW, which falls along half a cosine; above 0."""
    folds: int = 5
    """Parts of the series, 2 to 20, of which one is held out."""
    window: int = 3
    """Times that are swapped together, from 1."""
    draws: int = 4
    """Draws of a replaced point, from 1."""
    batch: int = 256
    """Series that go through a network together once it is taught, from 1."""
    seed: int = 0
    """Of parts, networks, order and draws, 0 to 2**32 - 1."""

    def __post_init__(self) -> None:
        fit = 2 <= self.width <= 1024 and self.width % 2 == 0
        require(fit, f"width must be an even number from 2 to 1024, not {self.width}")
        require(1 <= self.layers <= 12, f"layers must be 1 to 12, not {self.layers}")
        require(0 < self.learning_rate < math.inf, f"learning_rate must be above 0, not {self.learning_rate}")
        require(2 <= self.folds <= 20, f"folds must be 2 to 20, not {self.folds}")
        for name in ("updates", "rows", "window", "draws", "batch"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        require(0 <= self.seed < 2**32, f"seed must be 0 to 2**32 - 1, not {self.seed}")

    @abstractmethod
    def importances(
        self, network: SeriesNetwork, lessons: SeriesLessons, values: Series, called: Int[Tensor, "m"], run: Run
    ) -> Series:
        """The importance of each point of m series, larger where it counts more.

        Args:
            network: the classifier, frozen.
            lessons: what it learnt.
            values: on the scale of the lessons.
            called: the class of each that is asked about.
            run: progress and state of whatever is trained.
        """

    def found(
        self, network: SeriesNetwork, lessons: SeriesLessons, values: Series, called: Int[Tensor, "m"], run: Run
    ) -> FoundPoints:
        """`importances`, of the same arguments, and what is told beside them: as a rule nothing."""
        return FoundPoints(self.importances(network, lessons, values, called, run))

    @abstractmethod
    def seconds(self, learnt: int, held: int, points: int, step: float, row: float) -> float:
        """Seconds of the importances of `held` series of so many points, where `learnt` are learnt from.

        `step` is the time of a series in a step of training, `row` that of one in a pass.
        """

    @property
    def pace(self) -> SeriesPace:
        """Of each training."""
        return SeriesPace(
            updates=self.updates, rows=self.rows, learning_rate=self.learning_rate, width=self.width,
            layers=self.layers, seed=self.seed,
        )  # fmt: skip

    def __call__(self, series: LabelledSeries, *, run: Run = Run.none()) -> ExplainedPoints:
        """Importances of the held-out series' points, and how far they can be trusted.

        Args:
            series: n of t times and d channels.
            run: progress, states and warnings; a killed call goes on from the last saved step.

        Raises:
            BadInput: for series of fewer than 3 times, for classes of too few series, and where all held-out series are
                called one class.
            IntaglioError: for a loss or importances that are not finite.
        """
        learnt, held = self.parts(series)
        lessons = SeriesLessons.of(series.values[learnt], series.codes[learnt], len(series.classes))
        network = taught_network(lessons, self.pace, run)
        values = lessons.scaled(series.values[held])

        def answers(given: Series) -> Float[Tensor, "n c"]:
            return encoded(network, given, self.batch).logits

        called = answers(values).argmax(1)
        if len(called.unique()) < 2:
            raise BadInput("the classifier calls all held-out series one class; give more series, or more --updates")
        told = self.found(network, lessons, values, called, run)
        found = told.importances.float()
        if not bool(found.isfinite().all()):
            raise IntaglioError(f"{self.name} gives importances that are not finite; give a lower --learning-rate")
        swaps = swapped_times(answers, values, called, partners_of(called, self.seed), self.window)
        chance = torch.rand(found.shape, generator=generator(self.seed, "by chance"))
        curves = [
            removal_curves(answers, lessons, values, one, called, self.draws, self.seed) for one in (found, chance)
        ]
        of_times = found.mean(2).double().numpy()
        result = ExplainedPoints(
            method=self.name, reading=self.reading, classes=series.classes, channels=series.channels,
            times=series.told_times, learnt=len(learnt), window=self.window,
            names=tuple(series.names[k] for k in held.tolist()),
            values=series.values[held], importances=found, truth=series.codes[held].numpy(), called=called.numpy(),
            removed=curves[0], by_chance=curves[1], ranks=swaps.ranks(of_times), swap_auc=swaps.told(of_times),
            landmarks=told.landmarks,
        )  # fmt: skip
        for warning in result.warnings:
            run.warn(warning)
        return result

    def forget(self, run: Run) -> None:
        """Drops what a run kept to go on from; to be called once its result is safe."""
        for state in self.states:
            run.drop_state(state)

    def parts(self, series: LabelledSeries) -> tuple[Int[Tensor, "a"], Int[Tensor, "m"]]:
        """Places of the series that are learnt from, and of those that are held out. Raises `BadInput`."""
        if series.values.shape[1] < FEWEST_TIMES:
            raise BadInput(f"the series have {series.values.shape[1]} times; give {FEWEST_TIMES} or more")
        least, counts = max(LEAST, self.folds), series.codes.bincount()
        if int(counts.min()) < least:
            few = one_line(series.classes[int(counts.argmin())])
            raise BadInput(f"class {few} has {int(counts.min())} series, too few to learn and to ask; give {least}")
        held = torch.zeros(len(series), dtype=torch.bool)
        groups = series.groups or series.names
        for code in range(len(series.classes)):
            own = sorted({groups[k] for k in (series.codes == code).nonzero()[:, 0].tolist()})
            drawn = torch.randperm(len(own), generator=generator(self.seed, "parts", code))
            out = {own[k] for k in drawn[: max(1, len(own) // self.folds)].tolist()}
            held |= torch.tensor([one in out for one in groups])
        rest = series.codes[~held].bincount(minlength=len(series.classes))
        if int(rest.min()) == 0:
            few = one_line(series.classes[int(rest.argmin())])
            raise BadInput(f"all series of class {few} are of one group, and are held out together; give more groups")
        return (~held).nonzero()[:, 0], held.nonzero()[:, 0]
