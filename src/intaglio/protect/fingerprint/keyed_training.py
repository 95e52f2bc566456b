"""The training of a decoder whose weights a message scales: decoder, map and reader together, for all messages."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import Objective, StepLoss, train
from intaglio.learning.settings import AdamWSettings
from intaglio.learning.step_randomness import batch_at
from intaglio.learning.trainer import Trainer
from intaglio.models.bit_extractors import BitExtractor
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.fingerprint.decoder_tuning import CHECKPOINT_EVERY_S, decoder_of, picture_distance
from intaglio.protect.fingerprint.jpeg_loop import compressed
from intaglio.protect.fingerprint.keyed_decoder import KeyMap, keyed_layers, scaled
from intaglio.randomness import generator_32bit
from intaglio.runs.run import Run

SHARES = {"map.heads": 2.0, "map.first": 0.1, "map.second": 0.1, "reader": 0.1}
"""Factors of the learning rate by the beginnings of weights' names; the decoder takes all of it."""


@dataclass(frozen=True, eq=False)
class KeyedTraining:
    """A training of a copy of a model's decoder, of a map from messages to its scales, and of a reader of messages."""

    model: LatentDiffusion
    """As it was given, frozen."""
    changed: LatentDiffusion
    """Of which the decoder is trained; all but the autoencoder is the model's own."""
    map: KeyMap
    reader: BitExtractor
    """In evaluation mode: its running means stay."""
    latents: Float[Tensor, "n c hl wl"]
    """That are decoded."""
    sharpness: float
    """Factor of the logits in the loss, above 0."""
    nearness: float
    """Weight of the distance from what the model decodes, 0 or more."""
    batch: int
    """Latents of an update, from 1, each with a message of its own."""
    hardened: bool
    """Whether every other update reads its pictures after JPEG."""
    seed: int
    """Of batches, messages and qualities."""

    def messages(self, step: int) -> Float[Tensor, "n b"]:
        """Bits of the step's pictures, 0 or 1, each of its own with probability 1/2."""
        source = generator_32bit(self.seed, "messages", step)
        return torch.randint(2, (self.batch, self.reader.bits), generator=source).float()

    def objective(self) -> Objective:
        """Loss of an update: how badly the messages are read, and how far the pictures are from the model's own."""
        layers = list(keyed_layers(self.changed).values())

        def loss_of(step: int) -> StepLoss:
            rows = batch_at(range(len(self.latents)), step, self.batch, self.seed, "decoder")
            messages = self.messages(step).to(self.model.device)
            with torch.no_grad():
                before = self.model.decode(self.latents[rows])
            with scaled(layers, self.map(messages)):
                after = self.changed.decode(self.latents[rows], clamp=False)
            seen = after.clamp(0, 1)
            logits = self.reader(compressed(seen, self.seed, step) if self.hardened and step % 2 else seen)
            aim = binary_cross_entropy_with_logits(self.sharpness * logits, messages)
            distance = picture_distance(after, before)
            loss = aim + self.nearness * distance
            loss.backward()
            right = float(((logits > 0) == messages.bool()).float().mean())
            parts = {"aim": float(aim.detach()), "distance": float(distance.detach())}
            return StepLoss(float(loss.detach()), parts, {"right": right})

        return loss_of

    def run_through(self, settings: AdamWSettings, run: Run) -> None:
        """Makes the updates that are left; decoder, map and reader then have the trained weights.

        Args:
            settings: of the optimiser.
            run: progress and states; a killed call goes on and gives the same bits.
        """
        modules: dict[str, nn.Module] = {"decoder": decoder_of(self.changed), "map": self.map, "reader": self.reader}
        weights = {f"{part}.{k}": one for part, net in modules.items() for k, one in net.named_parameters()}
        shares = {name: share for name in weights for part, share in SHARES.items() if name.startswith(part)}
        trainer = Trainer(weights, settings, shares=shares)
        checkpoints = Checkpoints(run, every_s=CHECKPOINT_EVERY_S)
        checkpoints.restore(trainer)
        train(trainer, self.objective(), run, checkpoints, advice="try a lower --learning-rate", label="training")
        trainer.export()
