"""Denoising losses of a suspect and of its base at the same latents, their difference, and its gradient.

Everything here is a function of clean latents [n, c, h, w], noise [n, k, c, h, w] and timesteps [n, k]: k samples a
picture, all on the CPU and float32. A loss is the mean squared error of a network's output over the entries of a
latent; the loss difference is the base's less the suspect's, positive where the suspect denoises better. Samples go
through a network at most `micro_batch` at a time, one network after the other, so that only one graph is ever held.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Self

import torch
from jaxtyping import Float, Real
from torch import Tensor

from intaglio.denoising.losses import Precision, checkpointed, loss_and_gradient, losses, noise_predictions, pieces
from intaglio.models.diffusion.latent_diffusion import Conditioning, LatentDiffusion


@dataclass(frozen=True, eq=False)
class Contrast:
    """Two comparable models, frozen, with one prompt encoded by each, or a prompt a picture."""

    suspect: LatentDiffusion
    base: LatentDiffusion
    suspect_text: Conditioning
    """One row, or a row a picture."""
    base_text: Conditioning
    """As many rows."""
    micro_batch: int = 64
    """Pictures times samples in one call of a network, at most."""
    precision: Precision = "float32"
    """Arithmetic inside the networks; half kinds by autocast. Latents, losses and gradients are float32 outside."""

    @classmethod
    @contextmanager
    def of(
        cls,
        suspect: LatentDiffusion,
        base: LatentDiffusion,
        prompt: str,
        *,
        micro_batch: int,
        precision: Precision = "float32",
        checkpointing: bool = False,
    ) -> Iterator[Self]:
        """Encodes the prompt once by each model and holds both models frozen while the block runs.

        With `checkpointing`, gradients take less memory and about a third more time.
        """
        with ExitStack() as held:
            for model in (suspect, base):
                held.enter_context(model.frozen())
                if checkpointing:
                    held.enter_context(checkpointed(model))
            with torch.no_grad():
                texts = [model.embed([prompt]).detach() for model in (suspect, base)]
            yield cls(suspect, base, texts[0], texts[1], micro_batch, precision)

    def under(self, prompts: Sequence[str]) -> "Contrast":
        """The same models under a prompt of its own for each picture that they are asked about."""
        with torch.no_grad():
            texts = [model.embed(list(prompts)).detach() for model in (self.suspect, self.base)]
        return replace(self, suspect_text=texts[0], base_text=texts[1])

    def encode(
        self, pixels: Float[Tensor, "n 3 H W"], sources: Sequence[torch.Generator] | None = None
    ) -> Float[Tensor, "n c h w"]:
        """Latents by the base's autoencoder, which serves both models: its mean, or samples drawn from `sources`."""
        with torch.no_grad():
            latents = [
                self.base.encode(pixels[piece], None if sources is None else sources[piece]).cpu()
                for piece in pieces(len(pixels), self.micro_batch)
            ]
        return torch.cat(latents)

    def decode(self, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 H W"]:
        """Pixels in [0, 1] by the base's autoencoder, which serves both models."""
        with torch.no_grad():
            pixels = [self.base.decode(latents[piece]).cpu() for piece in pieces(len(latents), self.micro_batch)]
        return torch.cat(pixels)

    def losses(
        self, latents: Float[Tensor, "n c h w"], noise: Float[Tensor, "n k c h w"], t: Real[Tensor, "n k"]
    ) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n k"]]:
        """The suspect's and the base's loss, each in what its network predicts, for each sample."""
        suspect, base = (
            losses(model, text, latents, noise, t, self.micro_batch, self.precision) for model, text in self._sides()
        )
        return suspect, base

    def loss_differences(
        self, latents: Float[Tensor, "n c h w"], noise: Float[Tensor, "1 k c h w"], t: Real[Tensor, "1 k"]
    ) -> Float[Tensor, "n"]:
        """The base's loss less the suspect's, averaged over samples that all pictures share (`fixed_samples`)."""
        count = len(latents)
        suspect, base = self.losses(latents, noise.expand(count, -1, -1, -1, -1), t.expand(count, -1))
        return (base - suspect).mean(1)

    def loss_difference_and_gradient(
        self,
        latents: Float[Tensor, "n c h w"],
        noises: tuple[Float[Tensor, "n k c h w"], Float[Tensor, "n k c h w"]],
        t: Real[Tensor, "n k"],
    ) -> tuple[Float[Tensor, "n"], Float[Tensor, "n c h w"]]:
        """The loss difference, averaged over the samples, and its gradient by the latents, times a latent's size.

        `noises` are the suspect's and the base's; given the same tensor twice, the part that both losses share cancels.
        The gradient is that of summed squared errors, c * h * w times the mean's, since a mean over tens of thousands
        of entries underflows in half precision.
        """
        (loss_s, grad_s), (loss_b, grad_b) = (
            loss_and_gradient(model, text, latents, noise, t, self.micro_batch, self.precision)
            for (model, text), noise in zip(self._sides(), noises, strict=True)
        )
        return loss_b - loss_s, grad_b - grad_s

    def loss_and_prediction_difference(
        self, latents: Float[Tensor, "n c h w"], noise: Float[Tensor, "n k c h w"], t: Real[Tensor, "n k"]
    ) -> tuple[Float[Tensor, "n"], Float[Tensor, "n c h w"]]:
        """The differences of losses and of noise predictions, base less suspect, averaged over the samples.

        The second points along that of the two scores (w(t) = 1) and is the gradient of the first without the
        networks' Jacobians, which needs no backward pass. The losses are the noise predictions' squared errors.
        """
        count = t.shape[1]
        # The two schedules are the same, or the models could not be compared.
        noised = self.base.noised(latents.repeat_interleave(count, 0), noise.flatten(0, 1), t.flatten())
        suspect, base = (
            noise_predictions(model, text, noised.view_as(noise), t, self.micro_batch, self.precision)
            for model, text in self._sides()
        )
        difference = ((base - noise) ** 2 - (suspect - noise) ** 2).flatten(2).mean((1, 2))
        return difference, (base - suspect).mean(1)

    def _sides(self) -> tuple[tuple[LatentDiffusion, Conditioning], tuple[LatentDiffusion, Conditioning]]:
        return (self.suspect, self.suspect_text), (self.base, self.base_text)
