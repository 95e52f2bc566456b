"""pose: a network that learns, beside the sources, simulated unknown ones that spread ever further."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from intaglio.audit.attribution.family import JudgedPictures, Learnt, SourceAttributor
from intaglio.audit.attribution.picture_sources import PictureSources
from intaglio.audit.attribution.simulated_sources import (
    NUMBERS,
    changed_by,
    fresh_net,
    net_loss,
    packed_net,
    triplet_loss,
    unpacked_net,
)
from intaglio.audit.attribution.source_models import Models
from intaglio.audit.attribution.source_network import (
    HEAD,
    batch_of,
    blank_update,
    cosine_transform,
    epoch_steps,
    network_of,
    network_tensors,
    new_network,
    renormalised,
    source_weights,
)
from intaglio.errors import require
from intaglio.learning.checkpoints import STATE, Checkpoints
from intaglio.learning.loop import StepLoss, train
from intaglio.learning.settings import AdamWSettings
from intaglio.learning.trainer import Trainer
from intaglio.randomness import generator
from intaglio.runs.picture_batches import content_order
from intaglio.runs.run import Run

NET = "augmentation net/"
"""Prefix of the weights of the net of the epoch among all that are trained."""


@dataclass(frozen=True, kw_only=True)
class _Falling(AdamWSettings):
    """Adam at a rate that falls by a tenth every 500 updates."""

    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    clip: float | None = None

    def rate(self, step: int) -> float:
        return self.learning_rate * 0.9 ** (step // 500)


@dataclass(frozen=True, kw_only=True)
class POSE(SourceAttributor):
    """Open space expansion: a network also tells sources from nets that change their pictures.

    Every epoch e has an augmentation net A_e of two convolutions, 3 to 32 to 3 channels, which learns to change
    pictures little, and to move their features elsewhere than an earlier net A_j, drawn at random, does (`net_loss`).
    The network f, which takes the two-dimensional cosine transform of a picture, learns

        CE(x, y) + T([f(x); f(A_e x)], [y; y + K]) + T([f(x); f(A_j x)], [y; y + K]),

    with CE the cross-entropy of the logits over the temperature, in which every source counts alike, and T the
    batch-hard triplet loss of features, in which a changed picture is of a source of its own. The knownness is the log
    of the largest probability. Net and network take their steps at once, from one pass; at the end the statistics of
    batch normalisation are made anew from the pictures alone.

    Source: Yang et al., arXiv 2303.06877; losses and defaults after the published code, which takes the cross-entropy
    of probabilities over the temperature (`published_loss`). The network is `intaglio.models.classifiers`'; the steps
    at once, the features of unit length in T, and the new statistics are ours.
    """

    reading: ClassVar[str] = "traces in the cosine transform that a network learnt to tell from changed ones"

    epochs: int = 30
    """Times that every picture is shown, each with an augmentation net of its own; 1 or more."""
    rows: int = 8
    """Pictures an update, 2 or more; each is shown as it is, and changed by two nets."""
    learning_rate: float = 1e-4
    """Learning rate of the network, which falls by a tenth every 500 updates; above 0."""
    net_rate: float = 1e-2
    """Learning rate of the augmentation nets, which falls alike; above 0."""
    temperature: float = 0.1
    """Divisor of the logits, above 0."""
    published_loss: bool = False
    """Divide the probabilities by the temperature in place of the logits, and take their softmax again."""
    widths: tuple[int, ...] = (32, 64, 128, 224)
    """Channels of each stage, of which each halves the side; 1 to 4096."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.epochs >= 1, f"epochs must be 1 or more, not {self.epochs}")
        require(self.rows >= 2, f"rows must be 2 or more, not {self.rows}")
        for setting in ("learning_rate", "net_rate", "temperature"):
            value = getattr(self, setting)
            require(0 < value < float("inf"), f"{setting} must be above 0, and finite, not {value}")
        sound = self.widths and all(1 <= width <= 4096 for width in self.widths)
        require(bool(sound), f"widths must be one number or more, each of 1 to 4096, not {self.widths}")

    def learn(self, sources: PictureSources, models: Models, run: Run) -> Learnt:
        """The trained network."""
        network = new_network(sources.names, self.widths, self.seed).train()
        weights, pixels = source_weights(sources.labels, len(sources.names)), sources.images.pixels
        order, per_epoch = content_order(sources.images), epoch_steps(len(sources), self.rows)
        net = fresh_net(self.seed, 0)
        nets = torch.zeros(self.epochs, NUMBERS)
        steps = _Falling(steps=self.updates(len(sources)), learning_rate=self.learning_rate)
        trained = {f"{NET}{name}": weight for name, weight in net.items()}
        trainer = Trainer(
            dict(network.named_parameters()),
            steps,
            beside=trained,
            shares=dict.fromkeys(trained, self.net_rate / self.learning_rate),
            kept={**dict(network.named_buffers()), "earlier nets": nets},
        )

        def objective(step: int) -> StepLoss:
            epoch = step // per_epoch
            if epoch and step % per_epoch == 0:
                nets[epoch - 1] = packed_net(net)
                trainer.replace({f"{NET}{name}": value for name, value in fresh_net(self.seed, epoch).items()})
            places = batch_of(order, self.rows, step, self.seed)
            clean, labels = pixels[places], sources.labels[places]
            chosen = int(torch.randint(epoch, (1,), generator=generator(self.seed, "earlier", step))) if epoch else 0
            views = [clean, changed_by(net, clean)]
            views += [changed_by(unpacked_net(nets[chosen]), clean)] if epoch else []
            parts = network.features(1 - cosine_transform(torch.cat(views))).split(len(clean))
            unlike = torch.cat([labels, labels + len(sources.names)])
            told = cross_entropy(self._scaled(network.heads[HEAD](parts[0])), labels, weights)
            apart = torch.stack([triplet_loss(torch.cat([parts[0], other]), unlike) for other in parts[1:]]).sum()
            of_net = net_loss(clean, views[1], parts[0], parts[1], parts[2] if epoch else None)
            of_net.backward(inputs=list(net.values()), retain_graph=True)
            (told + apart).backward(inputs=list(network.parameters()))
            told_by_term = {"cross_entropy": float(told.detach()), "triplets": float(apart.detach())}
            return StepLoss(sum(told_by_term.values()), told_by_term, {"net": float(of_net.detach())})

        checkpoints = Checkpoints(run, every_s=20.0)
        checkpoints.restore(trainer)
        train(trainer, objective, run, checkpoints)
        trainer.export()
        ordered = pixels[order].split(self.batch)
        return network_tensors(renormalised(network, [1 - cosine_transform(some) for some in ordered]))

    def updates(self, pictures: int) -> int:
        """Those of all epochs."""
        return self.epochs * epoch_steps(pictures, self.rows)

    def update(self, sources: int, side: int) -> Callable[[], object]:
        """A pass of blank pictures, each in three views, through a network of this size, and twice back."""
        return blank_update(self.widths, sources, 4 * self.rows, side)

    def judge(self, learnt: Learnt, pixels: Float[Tensor, "n 3 h w"], models: Models) -> JudgedPictures:
        """By the network's logits; the knownness is the largest log posterior."""
        logits = network_of(learnt, self.widths).logits(1 - cosine_transform(pixels), HEAD)
        posterior = torch.log_softmax(self._scaled(logits.double()), 1)
        return JudgedPictures(posterior, posterior.amax(1))

    def features(self, learnt: Learnt, pixels: Float[Tensor, "n 3 h w"], models: Models) -> Float[Tensor, "n f"]:
        """The network's features, before its head."""
        return network_of(learnt, self.widths).features(1 - cosine_transform(pixels))

    def forget(self, run: Run) -> None:
        """Drops the state of the training."""
        run.drop_state(STATE)

    def _scaled(self, logits: Tensor) -> Tensor:
        """The numbers whose softmax is taken."""
        return (torch.softmax(logits, 1) if self.published_loss else logits) / self.temperature
