"""Pictures that classifiers and selectors learn from, and the training of a plain classifier by them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from intaglio.explain.selectors.shown_pixels import Fill, Pixels, holes, shown
from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import Objective, StepLoss, backward, train
from intaglio.learning.settings import CosineSettings
from intaglio.learning.step_randomness import batch_at
from intaglio.learning.trainer import Trainer
from intaglio.models.classifiers import PictureClassifier, new_classifier
from intaglio.randomness import generator
from intaglio.runs.run import Run

HEAD = "label"
"""The only head of the classifiers."""
SAVED_S = 20.0
"""Seconds between two saved states, beside one an epoch."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """The length of a training, and the size of its networks and steps."""

    epochs: int
    rows: int
    """Pictures of an update."""
    learning_rate: float
    """Highest, which falls along half a cosine."""
    weight_decay: float
    widths: tuple[int, ...]
    """Channels of each stage of the classifiers."""

    def updates(self, pictures: int) -> int:
        """Those of all epochs."""
        return math.ceil(self.epochs * pictures / self.rows)


@dataclass(frozen=True, eq=False)
class LabelledLessons:
    """Labelled pictures in an order that does not depend on that of their files."""

    pixels: Pixels
    """On the CPU."""
    labels: Int[Tensor, "n"]
    classes: tuple[str, ...]
    fill: Fill
    """The colour that stands where a pixel is hidden."""
    seed: int
    """Of networks, order and holes."""
    device: torch.device

    def batch(self, step: int, rows: int, stream: str) -> tuple[Float[Tensor, "b 3 h w"], Int[Tensor, "b"]]:
        """Pictures and labels of a step, on the device; each picture once an epoch."""
        places = batch_at(range(len(self.pixels)), step, rows, self.seed, stream)
        return self.pixels[places].to(self.device), self.labels[places].to(self.device)

    def classifier(self, widths: tuple[int, ...], kind: str) -> PictureClassifier:
        """An untrained classifier in training mode; classifiers of another `kind` begin elsewhere."""
        drawn = int(torch.randint(2**31, (1,), generator=generator(self.seed, "network", kind)))
        return new_classifier({HEAD: self.classes}, drawn, widths, [1] * len(widths)).to(self.device).train()

    def showing(self, pixels: Pixels) -> "LabelledLessons":
        """The same labels of changed pictures."""
        return replace(self, pixels=pixels)


def taught_classifier(lessons: LabelledLessons, pace: Pace, pierced: float, kind: str, run: Run) -> PictureClassifier:
    """A classifier that has learnt whole pictures by cross-entropy, in evaluation mode and frozen.

    Args:
        lessons: what it learns.
        pace: of the training.
        pierced: share of the pictures that are shown with holes.
        kind: name of its state, stream and draws.
        run: log and state; a killed training goes on.
    """
    network = lessons.classifier(pace.widths, kind)

    def objective(step: int) -> StepLoss:
        pixels, labels = lessons.batch(step, pace.rows, kind)
        source = generator(lessons.seed, kind, "holes", step)
        masks = holes(len(pixels), (pixels.shape[2], pixels.shape[3]), pierced, source).to(lessons.device)
        return backward(cross_entropy(network.logits(shown(pixels, masks, lessons.fill), HEAD), labels))

    weights, kept = dict(network.named_parameters()), dict(network.named_buffers())
    taught(weights, kept, objective, lessons, pace, kind, run)
    return network.eval()


def taught(
    weights: Mapping[str, Tensor],
    kept: Mapping[str, Tensor],
    objective: Objective,
    lessons: LabelledLessons,
    pace: Pace,
    kind: str,
    run: Run,
) -> None:
    """Make all updates of these weights, in place; the state is saved after each epoch, under the name `kind`.

    Args:
        weights: that learn.
        kept: numbers that the objective changes itself.
        objective: loss of a step and its gradients.
        lessons: that are learnt.
        pace: of the training.
        kind: name of its state and stream.
        run: log and state.
    """
    settings = CosineSettings(
        steps=pace.updates(len(lessons.pixels)), learning_rate=pace.learning_rate, weight_decay=pace.weight_decay,
        warmup=10, clip=None,
    )  # fmt: skip
    trainer = Trainer(weights, settings, kept=kept)
    epoch = max(1, len(lessons.pixels) // pace.rows)
    checkpoints = Checkpoints(run, every_s=SAVED_S, every=epoch, streams=(kind,), state=kind)
    checkpoints.restore(trainer)
    train(trainer, objective, run, checkpoints, label=kind, stream=kind)
    trainer.export()
