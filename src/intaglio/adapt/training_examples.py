"""A training set as inputs of the denoiser: latents and prompt embeddings, computed once, and the batch of a step."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Real
from torch import Tensor

from intaglio.adapt.data import TrainingSet, epoch_order
from intaglio.adapt.settings import Training
from intaglio.denoising.examples import CHUNK, encoded
from intaglio.denoising.training_times import training_times
from intaglio.learning.step_randomness import batch_at, dropped_at, noise_at
from intaglio.models.diffusion.latent_diffusion import Conditioning, LatentDiffusion
from intaglio.randomness import seed_32bit


@dataclass(frozen=True, eq=False)
class StepBatch:
    """The inputs of one step: instance pictures first, then as many class pictures where there are any."""

    latents: Float[Tensor, "n c h w"]
    noise: Float[Tensor, "n c h w"]
    timesteps: Real[Tensor, " n"]
    prompts: tuple[str, ...]
    weights: Float[Tensor, " n"]
    """Weight of each picture's error in the loss: 1 / batch, for class pictures prior_weight / batch."""

    def __len__(self) -> int:
        return len(self.latents)

    def __getitem__(self, part: slice) -> "StepBatch":
        return StepBatch(
            self.latents[part], self.noise[part], self.timesteps[part], self.prompts[part], self.weights[part]
        )


class TrainingExamples:
    """Latents of all pictures, and, unless the text encoders are trained, the embeddings of all prompts.

    A picture's latent is the mean of the autoencoder's posterior, whose spread is far below the noise that is added.
    """

    def __init__(self, model: LatentDiffusion, data: TrainingSet, settings: Training):
        self._model, self._settings = model, settings
        self._orders = {"instance": epoch_order(data.images)}
        self._latents = {"instance": encoded(model, data.images.pixels)}
        self._prompts = {"instance": data.prompts}
        self._hashes = data.images.hashes
        if data.class_images is not None and settings.prior_weight:
            self._orders["class"] = epoch_order(data.class_images)
            self._latents["class"] = encoded(model, data.class_images.pixels)
            self._prompts["class"] = data.class_prompts
        self._rows: dict[str, int] = {}
        if not settings.text_encoder:
            known = {prompt for prompts in self._prompts.values() for prompt in prompts}
            known |= {""} if settings.caption_dropout else set()
            self._rows = {prompt: row for row, prompt in enumerate(sorted(known))}
            self._embedded = _embed(model, list(self._rows))

    def at(self, step: int) -> StepBatch:
        """The batch of step `step`, counted from 0: a function of (seed, step)."""
        settings = self._settings
        chosen = {
            stream: batch_at(order, step, settings.batch, settings.seed, stream)
            for stream, order in self._orders.items()
        }
        latents = torch.cat([self._latents[stream][indices] for stream, indices in chosen.items()])
        prompts = [self._prompts[stream][index] for stream, indices in chosen.items() for index in indices]
        weights = torch.ones(len(latents), device=latents.device) / settings.batch
        weights[settings.batch :] *= settings.prior_weight
        noise = noise_at(latents.shape, step, settings.seed).to(latents)
        timesteps = training_times(self._model.schedule, len(latents), step, settings.seed).to(latents.device)
        return StepBatch(latents, noise, timesteps, self._with_dropout(prompts, step, settings.seed), weights)

    def draws_of(self, index: int, step: int, count: int) -> StepBatch:
        """One instance picture at `count` noises and timesteps, which weigh 1 together.

        They are functions of (seed, step, the picture), whatever other pictures there are.
        """
        seed = seed_32bit(self._settings.seed, "picture", self._hashes[index])
        latents = self._latents["instance"][index : index + 1].expand(count, -1, -1, -1)
        noise = noise_at(latents.shape, step, seed).to(latents)
        timesteps = training_times(self._model.schedule, count, step, seed).to(latents.device)
        prompts = self._with_dropout([self._prompts["instance"][index]] * count, step, seed)
        return StepBatch(latents, noise, timesteps, prompts, torch.full((count,), 1 / count, device=latents.device))

    def conditioning(self, prompts: Sequence[str]) -> Conditioning:
        """The prompts' conditioning of the denoiser; differentiable where the text encoders are trained."""
        if self._settings.text_encoder:
            return self._model.embed(prompts)
        return self._embedded[[self._rows[prompt] for prompt in prompts]]

    def _with_dropout(self, prompts: Sequence[str], step: int, seed: int) -> tuple[str, ...]:
        if not self._settings.caption_dropout:
            return tuple(prompts)
        dropped = dropped_at(len(prompts), self._settings.caption_dropout, step, seed)
        return tuple("" if out else prompt for prompt, out in zip(prompts, dropped.tolist(), strict=True))


@torch.no_grad()
def _embed(model: LatentDiffusion, prompts: Sequence[str]) -> Conditioning:
    parts = [model.embed(prompts[start : start + CHUNK]) for start in range(0, len(prompts), CHUNK)]
    return Conditioning.cat(parts)
