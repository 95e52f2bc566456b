"""Denoising errors of a suspect and of its base at the same latents, their difference, and its gradient.

Everything here is a function of clean latents [n, c, h, w], noise [n, k, c, h, w] and timesteps [n, k]: k samples a
picture, all on the CPU and float32. An error is the mean squared error of a network's output over the entries of a
latent; the gap of two models is the base's error less the suspect's, positive where the suspect denoises better. Rows
go through a network at most `micro_batch` at a time, one network after the other, so that only one graph is ever held.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.models.diffusion.latent_diffusion import Conditioning, LatentDiffusion

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, eq=False)
class Contrast:
    """Two comparable models, frozen, with one prompt encoded by each."""

    suspect: LatentDiffusion
    base: LatentDiffusion
    suspect_text: Conditioning
    """one row"""
    base_text: Conditioning
    """one row"""
    micro_batch: int = 64
    """Pictures times samples in one call of a network, at most."""
    precision: Precision = "float32"
    """Arithmetic inside the networks; half kinds by autocast. Latents, errors and gradients are float32 outside."""

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
                    held.enter_context(_checkpointed(model))
            with torch.no_grad():
                texts = [model.embed([prompt]).detach() for model in (suspect, base)]
            yield cls(suspect, base, texts[0], texts[1], micro_batch, precision)

    def gaps(
        self, latents: Float[Tensor, "n c h w"], noise: Float[Tensor, "n k c h w"], t: Int[Tensor, "n k"]
    ) -> Float[Tensor, "n k"]:
        """The base's denoising error less the suspect's, at the same noise, for each sample."""
        suspect, base = self.errors(latents, noise, t)
        return base - suspect

    def errors(
        self, latents: Float[Tensor, "n c h w"], noise: Float[Tensor, "n k c h w"], t: Int[Tensor, "n k"]
    ) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n k"]]:
        """Mean squared errors of the suspect and of the base, each in what its network predicts, for each sample."""
        suspect, base = (
            _denoising_errors(model, text, latents, noise, t, self.micro_batch, self.precision)
            for model, text in self._sides()
        )
        return suspect, base

    def ascent(
        self,
        latents: Float[Tensor, "n c h w"],
        noises: tuple[Float[Tensor, "n k c h w"], Float[Tensor, "n k c h w"]],
        t: Int[Tensor, "n k"],
    ) -> tuple[Float[Tensor, "n"], Float[Tensor, "n c h w"]]:
        """The gap, averaged over the samples, and its gradient with respect to the latents, times a latent's size.

        `noises` are the suspect's and the base's; given the same tensor twice, the part that both errors share cancels.
        The gradient is that of summed squared errors, c * h * w times the mean's, since a mean over tens of thousands
        of entries underflows in half precision.
        """
        (gap_s, grad_s), (gap_b, grad_b) = (
            _error_and_gradient(model, text, latents, noise, t, self.micro_batch, self.precision)
            for (model, text), noise in zip(self._sides(), noises, strict=True)
        )
        return gap_b - gap_s, grad_b - grad_s

    def forward_ascent(
        self, latents: Float[Tensor, "n c h w"], noise: Float[Tensor, "n k c h w"], t: Int[Tensor, "n k"]
    ) -> tuple[Float[Tensor, "n"], Float[Tensor, "n c h w"]]:
        """The gap and the difference of the two noise predictions, base less suspect, averaged over the samples.

        The difference points along that of the two scores (w(t) = 1) and is the gradient without the networks'
        Jacobians, which needs no backward pass. The gap is that of the noise predictions' squared errors.
        """
        count = t.shape[1]
        # The two schedules are the same, or the models could not be compared.
        noised = self.base.noised(latents.repeat_interleave(count, 0), noise.flatten(0, 1), t.flatten())
        suspect, base = (
            noise_predictions(model, text, noised.view_as(noise), t, self.micro_batch, self.precision)
            for model, text in self._sides()
        )
        gap = ((base - noise) ** 2 - (suspect - noise) ** 2).flatten(2).mean((1, 2))
        return gap, (base - suspect).mean(1)

    def _sides(self) -> tuple[tuple[LatentDiffusion, Conditioning], tuple[LatentDiffusion, Conditioning]]:
        return (self.suspect, self.suspect_text), (self.base, self.base_text)


def gap_at(contrast: Contrast, latents: Float[Tensor, "n c h w"], samples: tuple[Tensor, Tensor]) -> Float[Tensor, "n"]:
    """The gap of each picture, averaged over noise [1, k, c, h, w] and timesteps [1, k] of `fixed_samples`."""
    noise, t = samples
    return contrast.gaps(latents, noise.expand(len(latents), -1, -1, -1, -1), t.expand(len(latents), -1)).mean(1)


def _denoising_errors(
    model: LatentDiffusion,
    text: Conditioning,
    latents: Float[Tensor, "n c h w"],
    noise: Float[Tensor, "n k c h w"],
    t: Int[Tensor, "n k"],
    micro_batch: int,
    precision: Precision = "float32",
) -> Float[Tensor, "n k"]:
    """Mean squared error in what the network predicts, for each sample."""
    with torch.no_grad(), arithmetic(model, precision):
        errors = [model.error(*piece, text).cpu() for piece in rows(model, latents, noise, t, micro_batch)]
    return torch.cat(errors).float().view(t.shape)


def noise_predictions(
    model: LatentDiffusion,
    text: Conditioning,
    noised: Float[Tensor, "n k c h w"],
    t: Int[Tensor, "n k"],
    micro_batch: int,
    precision: Precision = "float32",
) -> Float[Tensor, "n k c h w"]:
    """The model's prediction of the unit noise in noised latents, for each sample."""
    every, times, predicted = noised.flatten(0, 1), t.flatten(), []
    with torch.no_grad(), arithmetic(model, precision):
        for start in range(0, len(every), micro_batch):
            piece = slice(start, start + micro_batch)
            predicted.append(model.predict(every[piece].to(model.device), times[piece].to(model.device), text).cpu())
    return torch.cat(predicted).float().view(noised.shape)


def _error_and_gradient(
    model: LatentDiffusion,
    text: Conditioning,
    latents: Tensor,
    noise: Tensor,
    t: Tensor,
    micro_batch: int,
    precision: Precision,
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n c h w"]]:
    """The mean error over the samples, and the gradient of the mean over the samples of summed squared errors."""
    errors, gradients = [], []
    for z, eps, times in rows(model, latents, noise, t, micro_batch):
        with torch.enable_grad(), arithmetic(model, precision):
            z.requires_grad_(True)
            error = model.error(z, eps, times, text)
            (gradient,) = torch.autograd.grad(error.sum() * z[0].numel(), z)
        errors.append(error.detach().cpu())
        gradients.append(gradient.cpu())
    return torch.cat(errors).float().view(t.shape).mean(1), torch.cat(gradients).float().view(noise.shape).mean(1)


def rows(
    model: LatentDiffusion, latents: Tensor, noise: Tensor, t: Tensor, micro_batch: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """All n * k samples in order, as latents, noise [m, c, h, w] and timesteps [m] on the model's device, m at most
    `micro_batch` at a time.
    """
    samples = t.shape[1]
    eps, times = noise.flatten(0, 1), t.flatten()
    for start in range(0, len(times), micro_batch):
        rows = torch.arange(start, min(start + micro_batch, len(times)))
        # Indexing copies, so that no piece holds on to another's graph.
        yield latents[rows // samples].to(model.device), eps[rows].to(model.device), times[rows].to(model.device)


def arithmetic(model: LatentDiffusion, precision: Precision) -> AbstractContextManager:
    """A context for calls of a network: float32 as it is, the half precisions by autocast."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(model.device.type, getattr(torch, precision))


@contextmanager
def _checkpointed(model: LatentDiffusion) -> Iterator[None]:
    """Gradient checkpointing in the denoiser while the block runs: less memory, about a third more time."""
    denoiser = model.parts["denoiser"]
    if getattr(denoiser, "is_gradient_checkpointing", True):
        yield
        return
    denoiser.enable_gradient_checkpointing()  # type: ignore[operator]
    try:
        yield
    finally:
        denoiser.disable_gradient_checkpointing()  # type: ignore[operator]
