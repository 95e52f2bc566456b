"""The training of a copy of a model's decoder on latents: towards an aim, and near the pictures it gave before."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

from intaglio.errors import BadInput
from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import Objective, StepLoss, train
from intaglio.learning.settings import AdamWSettings
from intaglio.learning.step_randomness import batch_at
from intaglio.learning.trainer import Trainer
from intaglio.metrics.similarity.encoder import Encoder, load_encoder
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run

CHECKPOINT_EVERY_S = 30.0
"""Seconds between two saved states."""
SQUARES = 100.0
"""Weight of the mean squared difference of pixels beside the distance of features."""

Pictures = Float[Tensor, "n 3 h w"]
Aim = Callable[[Pictures, int], Float[Tensor, ""]]
"""Loss of decoded pictures in [0, 1] at a step, with gradients; a pure function."""


@dataclass(frozen=True, eq=False)
class DecoderTuning:
    """A training of the decoder of a copy of a model."""

    model: LatentDiffusion
    """As it was given, frozen."""
    changed: LatentDiffusion
    """Of which the decoder is trained; all but the autoencoder is the model's own."""
    latents: Float[Tensor, "n c hl wl"]
    """That are decoded."""
    aim: Aim
    nearness: float
    """Weight of the distance from what the model decodes, 0 or more."""
    batch: int
    """Latents of an update, from 1."""
    seed: int
    """Of batches."""

    def objective(self) -> Objective:
        """Loss of an update: the aim, and how far the pictures are from the model's own."""

        def loss_of(step: int) -> StepLoss:
            rows = batch_at(range(len(self.latents)), step, self.batch, self.seed, "decoder")
            with torch.no_grad():
                before = self.model.decode(self.latents[rows])
            after = self.changed.decode(self.latents[rows], clamp=False)
            aim, distance = self.aim(after.clamp(0, 1), step), picture_distance(after, before)
            loss = aim + self.nearness * distance
            loss.backward()
            return StepLoss(float(loss.detach()), {"aim": float(aim.detach()), "distance": float(distance.detach())})

        return loss_of

    def run_through(self, settings: AdamWSettings, run: Run) -> None:
        """Makes the updates that are left; the changed model then has the trained decoder."""
        trainer = Trainer(dict(decoder_of(self.changed).named_parameters()), settings)
        checkpoints = Checkpoints(run, every_s=CHECKPOINT_EVERY_S)
        checkpoints.restore(trainer)
        advice = "try a lower --learning-rate"
        train(trainer, self.objective(), run, checkpoints, advice=advice, label="decoder")
        trainer.export()


def with_own_decoder(model: LatentDiffusion, name: str) -> LatentDiffusion:
    """A model with a copy of the autoencoder, without gradients; all other parts are shared."""
    twin = model.made_for(model.sampling, model.denoiser, name)
    twin.autoencoder = copy.deepcopy(model.autoencoder).requires_grad_(False)
    return twin


def decoder_of(model: LatentDiffusion) -> nn.Module:
    """The decoder of the autoencoder. Raises `BadInput` for an autoencoder that has none to be changed."""
    decoder = getattr(model.autoencoder, "decoder", None)
    if not isinstance(decoder, nn.Module) or next(decoder.parameters(), None) is None:
        raise BadInput(f"the autoencoder of {model.name} has no decoder with weights of its own; give another model")
    return decoder


def picture_distance(one: Pictures, other: Pictures) -> Float[Tensor, ""]:
    """Distance of pictures: distances of features, and 100 times the mean squared difference of pixels.

    The features are the maps of the embedded encoder at three sizes, each place's to unit length; their squared
    distance is a mean over places and sizes. It stands for LPIPS, whose network does not ship.
    """
    maps = zip(_maps(one.clamp(0, 1)), _maps(other.clamp(0, 1)), strict=True)
    distances = [(a - b).square().sum(1).mean() for a, b in maps]
    return torch.stack(distances).mean() + SQUARES * (one - other).square().mean()


def _maps(pixels: Pictures) -> list[Tensor]:
    network = _encoder(str(pixels.device))
    first = network.stem(1 - pixels)
    second = network.middle(first)
    return [torch.nn.functional.normalize(maps, dim=1) for maps in (first, second, network.coarse(second))]


@cache
def _encoder(device: str) -> Encoder:
    return load_encoder(testbed.encoder_path(), device)
