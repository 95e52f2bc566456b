"""cnn: a small convolutional network trained to tell the sources apart."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from intaglio.audit.attribution.family import JudgedPictures, Learnt, SourceAttributor
from intaglio.audit.attribution.picture_sources import PictureSources
from intaglio.audit.attribution.post_processing import post_processed
from intaglio.audit.attribution.source_models import Models
from intaglio.audit.attribution.source_network import (
    HEAD,
    INPUTS,
    KNOWNNESS,
    Input,
    Knownness,
    batch_of,
    blank_update,
    epoch_steps,
    feature_statistics,
    knownness_of,
    network_input,
    network_of,
    network_tensors,
    new_network,
    source_weights,
)
from intaglio.errors import require
from intaglio.learning.checkpoints import STATE, Checkpoints
from intaglio.learning.loop import StepLoss, backward, train
from intaglio.learning.settings import CosineSettings
from intaglio.learning.trainer import Trainer
from intaglio.randomness import generator
from intaglio.runs.picture_batches import content_order
from intaglio.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class SourceCNN(SourceAttributor):
    """Source network: a small CNN is trained on the sources' pictures, in part as they spread.

    The network is that of `intaglio.models.classifiers` with one head, trained by cross-entropy in which every source
    counts alike. In half of the draws a picture first goes through one to three of JPEG, crop, resizing, rotation,
    contrast, brightness, blur and grey, so that traces are learnt that outlast them. The log posterior is the logarithm
    of its softmax. The knownness is the log of the summed exponentials of its logits, their largest, minus the least
    squared Mahalanobis distance of the features to a source's mean, or minus the distance to the fifth neighbour among
    the features of the pictures that taught, as directions.

    The protocol of post-processing in half of the draws, and of unknown sources that take no part in any choice, is
    that of the benchmark WILD (arXiv 2504.19595), whose networks are larger; network and measures are ours.
    """

    reading: ClassVar[str] = "traces in small neighbourhoods of pixels that a network learnt"

    epochs: int = 30
    """Times that every picture is shown, 1 or more."""
    rows: int = 32
    """Pictures an update, 2 or more."""
    learning_rate: float = 1e-3
    """Highest learning rate of AdamW, which falls along half a cosine; above 0."""
    processed: float = 0.5
    """Chance of a picture to be post-processed in a draw, in [0, 1]."""
    input: Input = "pixels"
    """pixels: the pictures. residual: 16 times what a 3x3 median removes, which hides most of the content."""
    knownness: Knownness = "energy"
    """Likeness to the sources, by the logits (energy, max-logit) or by the features (mahalanobis, neighbours)."""
    widths: tuple[int, ...] = (32, 64, 128, 224)
    """Channels of each stage, of which each halves the side; 1 to 4096."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.epochs >= 1, f"epochs must be 1 or more, not {self.epochs}")
        require(self.rows >= 2, f"rows must be 2 or more, not {self.rows}")
        require(0 < self.learning_rate < float("inf"), f"learning_rate must be above 0, not {self.learning_rate}")
        require(0 <= self.processed <= 1, f"processed must lie in 0..1, not {self.processed}")
        require(self.input in INPUTS, f"input must be one of {', '.join(INPUTS)}, not {self.input!r}")
        require(self.knownness in KNOWNNESS, f"knownness must be one of {', '.join(KNOWNNESS)}, not {self.knownness!r}")
        sound = self.widths and all(1 <= width <= 4096 for width in self.widths)
        require(bool(sound), f"widths must be one number or more, each of 1 to 4096, not {self.widths}")

    def learn(self, sources: PictureSources, models: Models, run: Run) -> Learnt:
        """The trained network, and what the knownness needs of the pictures' features."""
        network = new_network(sources.names, self.widths, self.seed).train()
        weights, pixels = source_weights(sources.labels, len(sources.names)), sources.images.pixels
        order = content_order(sources.images)

        def objective(step: int) -> StepLoss:
            places = batch_of(order, self.rows, step, self.seed)
            shown = post_processed(pixels[places], self.processed, generator(self.seed, "processed", step))
            logits = network.logits(network_input(shown, self.input), HEAD)
            return backward(cross_entropy(logits, sources.labels[places], weights))

        settings = CosineSettings(steps=self.updates(len(sources)), learning_rate=self.learning_rate)
        trainer = Trainer(dict(network.named_parameters()), settings, kept=dict(network.named_buffers()))
        checkpoints = Checkpoints(run, every_s=20.0)
        checkpoints.restore(trainer)
        train(trainer, objective, run, checkpoints)
        trainer.export()
        parts = (network_input(some, self.input) for some in pixels.split(self.batch))
        return {
            **network_tensors(network.eval()),
            **feature_statistics(network, list(parts), sources.labels, self.knownness),
        }

    def updates(self, pictures: int) -> int:
        """Those of all epochs."""
        return self.epochs * epoch_steps(pictures, self.rows)

    def update(self, sources: int, side: int) -> Callable[[], object]:
        """A pass of blank pictures through a network of this size, and back."""
        return blank_update(self.widths, sources, self.rows, side)

    def judge(self, learnt: Learnt, pixels: Float[Tensor, "n 3 h w"], models: Models) -> JudgedPictures:
        """By the network's logits and features."""
        network = network_of(learnt, self.widths)
        features = network.features(network_input(pixels, self.input))
        logits = network.heads[HEAD](features)
        posterior = torch.log_softmax(logits.double(), 1)
        return JudgedPictures(posterior, knownness_of(logits, features, learnt, self.knownness))

    def features(self, learnt: Learnt, pixels: Float[Tensor, "n 3 h w"], models: Models) -> Float[Tensor, "n f"]:
        """The network's features, before its head."""
        return network_of(learnt, self.widths).features(network_input(pixels, self.input))

    def forget(self, run: Run) -> None:
        """Drops the state of the training."""
        run.drop_state(STATE)
