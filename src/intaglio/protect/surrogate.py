"""Surrogate of an imitator's model: latents of pictures, and gradients that pass back through its encoder."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.denoising.losses import Precision, arithmetic, checkpointed, loss_and_gradient, pieces
from intaglio.denoising.samples import standard_normal, stratified_timesteps
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

AtLatents = Callable[
    [Float[Tensor, "m c hl wl"], Sequence[torch.Generator]], tuple[Float[Tensor, "m"], Float[Tensor, "m c hl wl"]]
]
"""From latents and a generator for each to a value of each, and the gradient of the values' sum by the latents."""


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A frozen model with one prompt embedded."""

    model: LatentDiffusion
    text: Conditioning
    """One row."""
    micro_batch: int
    """Rows in one call of a network, at most."""
    precision: Precision

    @classmethod
    @contextmanager
    def of(
        cls,
        model: LatentDiffusion,
        prompt: str,
        *,
        micro_batch: int,
        precision: Precision = "float32",
        checkpointing: bool = False,
    ) -> Iterator[Self]:
        """Embeds the prompt and holds the model frozen while the block runs.

        With `checkpointing`, gradients of the denoiser take less memory and about a third more time.
        """
        with ExitStack() as held:
            held.enter_context(model.frozen())
            if checkpointing:
                held.enter_context(checkpointed(model))
            with torch.no_grad():
                text = model.embed([prompt]).detach()
            yield cls(model, text, micro_batch, precision)

    def latents(self, pixels: Float[Tensor, "m 3 h w"]) -> Float[Tensor, "m c hl wl"]:
        """Means of the encoder's posteriors, without a graph, on the CPU."""
        with torch.no_grad(), arithmetic(self.model, self.precision):
            parts = [self.model.encode(pixels[piece]).float().cpu() for piece in pieces(len(pixels), self.micro_batch)]
        return torch.cat(parts)

    def samples(
        self, latents: Float[Tensor, "m c hl wl"], count: int, sources: Sequence[torch.Generator]
    ) -> tuple[Int[Tensor, "m k"], Float[Tensor, "m k c hl wl"]]:
        """`count` timesteps, stratified over the model's, and noises for each of the latents."""
        limits = (0, self.model.schedule.count - 1)
        t = torch.stack([stratified_timesteps(count, limits, source) for source in sources])
        return t, torch.stack([standard_normal(count, latents.shape[1:], source) for source in sources])

    def gradient(
        self,
        pixels: Float[Tensor, "m 3 h w"],
        at_latents: AtLatents,
        sources: Sequence[torch.Generator],
        *,
        sampled: bool,
    ) -> tuple[Float[Tensor, "m"], Float[Tensor, "m 3 h w"]]:
        """Values of pictures, and their gradient by the pixels, in two stages.

        The gradient by the latents is taken first, its graph freed, and then passed back through the encoder: memory
        is that of the larger graph, not of both, and the encoder is passed once however many samples the first stage
        averages over. Latents are samples of the encoder's posterior, drawn from each picture's generator, where
        `sampled`, else its mean.
        """
        values, gradients = [], []
        for piece in pieces(len(pixels), self.micro_batch):
            given = pixels[piece].detach().to(self.model.device).requires_grad_(True)
            with torch.enable_grad(), arithmetic(self.model, self.precision):
                latents = self.model.encode(given, sources[piece] if sampled else None).float()
            value, slope = at_latents(latents.detach().cpu(), sources[piece])
            (gradient,) = torch.autograd.grad(latents, given, slope.to(latents))
            values.append(value.cpu())
            gradients.append(gradient.float().cpu())
        return torch.cat(values), torch.cat(gradients)

    def denoising_gradient(
        self, pixels: Float[Tensor, "m 3 h w"], count: int, sources: Sequence[torch.Generator]
    ) -> tuple[Float[Tensor, "m"], Float[Tensor, "m 3 h w"]]:
        """The denoising loss of pictures, averaged over `count` timesteps and noises, and its gradient by the pixels.

        Latents are samples of the encoder's posterior. The gradient is that of the summed squared errors.
        """

        def at_latents(
            latents: Float[Tensor, "m c h w"], sources: Sequence[torch.Generator]
        ) -> tuple[Float[Tensor, "m"], Float[Tensor, "m c h w"]]:
            t, noise = self.samples(latents, count, sources)
            return loss_and_gradient(self.model, self.text, latents, noise, t, self.micro_batch, self.precision)

        return self.gradient(pixels, at_latents, sources, sampled=True)
