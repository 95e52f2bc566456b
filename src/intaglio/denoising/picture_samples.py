"""`PictureSamples`: pictures with fixed draws of timesteps and noise, so that denoising errors of models compare."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.denoising.losses import losses, micro_batches
from intaglio.denoising.samples import fixed_samples
from intaglio.models.diffusion.latent_diffusion import Conditioning, LatentDiffusion

ENCODED_AT_ONCE = 8
"""Pictures that are encoded at a time."""
Piece = tuple[Tensor, Tensor, Tensor, Conditioning]
"""Latents, noise and timesteps of a few samples, and the conditioning of all of them."""


@dataclass(frozen=True, eq=False)
class PictureSamples:
    """Latents of pictures, each with the same k timesteps and noises, so that errors of two models compare."""

    latents: Float[Tensor, "n c h w"]
    """On the CPU, clean."""
    prompts: tuple[str, ...]
    """A prompt each."""
    noise: Float[Tensor, "1 k c h w"]
    timesteps: Int[Tensor, "1 k"]
    """One from each of k equal parts of the schedule."""

    def __len__(self) -> int:
        """Samples: pictures times draws."""
        return len(self.latents) * self.timesteps.shape[1]

    def errors(self, model: LatentDiffusion, micro_batch: int) -> Float[Tensor, " n"]:
        """Each picture's denoising error, the mean over its draws; the model is left as found.

        Args:
            model: of the pictures' latents.
            micro_batch: samples at once, which change the result by rounding alone.
        """
        found = torch.empty(len(self.latents))
        with torch.no_grad(), model.frozen():
            for prompt, places in self._by_prompt():
                noise, timesteps = self._of(places)
                each = losses(model, model.embed([prompt]), self.latents[places], noise, timesteps, micro_batch)
                found[places] = each.mean(1)
        return found

    def pieces(self, model: LatentDiffusion, micro_batch: int) -> Iterator[Piece]:
        """All samples on the model's device, at most `micro_batch` at a time, those of one prompt together."""
        for prompt, places in self._by_prompt():
            with torch.no_grad():
                conditioning = model.embed([prompt])
            noise, timesteps = self._of(places)
            for latents, some, t in micro_batches(model, self.latents[places], noise, timesteps, micro_batch):
                yield latents, some, t, conditioning

    def _of(self, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Noise and timesteps of some pictures."""
        return self.noise.expand(len(places), -1, -1, -1, -1), self.timesteps.expand(len(places), -1)

    def _by_prompt(self) -> Iterator[tuple[str, list[int]]]:
        for prompt in dict.fromkeys(self.prompts):
            yield prompt, [place for place, one in enumerate(self.prompts) if one == prompt]


@torch.no_grad()
def picture_samples(
    model: LatentDiffusion, pixels: Float[Tensor, "n 3 h w"], prompts: Sequence[str], draws: int, seed: int
) -> PictureSamples:
    """Samples of pictures, in float32.

    Args:
        model: encodes the pictures; left as found.
        pixels: in [0, 1].
        prompts: one a picture.
        draws: timesteps and noises of each, 1 or more.
        seed: of the draws.
    """
    with model.frozen():
        latents = torch.cat([model.encode(some).cpu() for some in pixels.split(ENCODED_AT_ONCE)])
    noise, timesteps = fixed_samples(draws, tuple(latents.shape[1:]), (0, model.schedule.count - 1), seed)
    return PictureSamples(latents, tuple(prompts), noise, timesteps)
