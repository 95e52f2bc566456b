"""A classifier of series that is taught here, and the series that it learns from."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from intaglio.explain.series.series_network import EncodedSeries, Series, SeriesNetwork
from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import Objective, StepLoss, backward, train
from intaglio.learning.settings import CosineSettings
from intaglio.learning.step_randomness import batch_at
from intaglio.learning.trainer import Trainer
from intaglio.randomness import first_weights
from intaglio.runs.run import Run

CLASSIFIER = "classifier"
"""Name of the classifier's training, of its state and its log."""
SAVED_S = 20.0
"""Seconds between two saved states, beside one an epoch."""
SMALLEST = 1e-6
"""Deviation that a channel has at least."""


@dataclass(frozen=True, kw_only=True)
class SeriesPace:
    """The length of a training, and the size of its networks and steps."""

    updates: int
    rows: int
    """Series of an update."""
    learning_rate: float
    width: int
    layers: int
    seed: int


@dataclass(frozen=True, eq=False)
class SeriesLessons:
    """Series to learn from, each channel of mean 0 and deviation 1 over all of them and all times."""

    values: Series
    codes: Int[Tensor, "n"]
    classes: int
    centre: Float[Tensor, "d"]
    scale: Float[Tensor, "d"]

    @staticmethod
    def of(values: Series, codes: Int[Tensor, "n"], classes: int) -> "SeriesLessons":
        """Of series as they are given."""
        flat = values.flatten(0, 1)
        centre, scale = flat.mean(0), flat.std(0).clamp_min(SMALLEST)
        return SeriesLessons((values - centre) / scale, codes, classes, centre, scale)

    def scaled(self, values: Series) -> Series:
        """Other series, brought to the same scale."""
        return (values - self.centre) / self.scale

    def replacements(self, count: int, source: Generator) -> Series:
        """Draws for every point of so many series, normal with the mean and deviation of their time and channel."""
        drawn = torch.randn(count, *self.values.shape[1:], generator=source)
        return self.values.mean(0) + self.values.std(0) * drawn

    def batch(self, step: int, pace: SeriesPace, stream: str) -> tuple[Series, Int[Tensor, "b"]]:
        """Series and classes of a step."""
        places = self.places(step, pace, stream)
        return self.values[places], self.codes[places]

    def places(self, step: int, pace: SeriesPace, stream: str) -> list[int]:
        """Places of the series of a step; each comes once before any comes again."""
        count = min(pace.rows, len(self.values))
        return batch_at(range(len(self.values)), step, count, pace.seed, stream)


def taught_network(lessons: SeriesLessons, pace: SeriesPace, run: Run) -> SeriesNetwork:
    """A classifier of the series, frozen, in evaluation mode."""
    network = new_network(lessons, pace)

    def objective(step: int) -> StepLoss:
        values, codes = lessons.batch(step, pace, CLASSIFIER)
        return backward(cross_entropy(network(values).logits, codes))

    taught(network, objective, lessons, pace, CLASSIFIER, run)
    return network


def new_network(lessons: SeriesLessons, pace: SeriesPace) -> SeriesNetwork:
    """An untrained classifier of the series."""
    with first_weights(pace.seed, CLASSIFIER):
        return SeriesNetwork(lessons.values.shape[2], lessons.classes, pace.width, pace.layers)


def taught(
    network: nn.Module, objective: Objective, lessons: SeriesLessons, pace: SeriesPace, name: str, run: Run
) -> None:
    """Makes all updates of a network, in place, and freezes it; `name` is that of its state and log."""
    settings = CosineSettings(steps=pace.updates, learning_rate=pace.learning_rate)
    trainer = Trainer(dict(network.named_parameters()), settings)
    epoch = max(1, len(lessons.values) // pace.rows)
    checkpoints = Checkpoints(run, every_s=SAVED_S, every=epoch, streams=(name,), state=name)
    checkpoints.restore(trainer)
    train(trainer, objective, run, checkpoints, label=name, stream=name)
    trainer.export()
    network.eval().requires_grad_(False)


@torch.no_grad()
def encoded(network: SeriesNetwork, values: Series, batch: int) -> EncodedSeries:
    """Embeddings and answers of a network for series, so many at once."""
    parts = [network(part) for part in values.split(batch)]
    sequence, pooled, logits = (
        torch.cat([getattr(one, name) for one in parts]) for name in ("sequence", "pooled", "logits")
    )
    return EncodedSeries(sequence, pooled, logits)
