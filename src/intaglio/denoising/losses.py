"""Denoising losses, noise predictions and gradients of one model, a few samples at a time.

Clean latents are [n, c, h, w], noise [n, k, c, h, w] and timesteps [n, k]: k samples a picture, all on the CPU and
float32. A text has a row for each picture, or one for all of them. Samples go through the network at most `micro_batch`
at a time, so that only one graph is ever held.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from jaxtyping import Float, Real
from torch import Tensor

from intaglio.learning.precision import Precision
from intaglio.models.diffusion.latent_diffusion import Conditioning, LatentDiffusion


def losses(
    model: LatentDiffusion,
    text: Conditioning,
    latents: Float[Tensor, "n c h w"],
    noise: Float[Tensor, "n k c h w"],
    t: Real[Tensor, "n k"],
    micro_batch: int,
    precision: Precision = "float32",
) -> Float[Tensor, "n k"]:
    """Mean squared error in what the network predicts, for each sample."""
    each = zip(micro_batches(model, latents, noise, t, micro_batch), texts(text, t, micro_batch), strict=True)
    with torch.no_grad(), arithmetic(model, precision):
        losses = [model.error(*piece, own).cpu() for piece, own in each]
    return torch.cat(losses).float().view(t.shape)


def noise_predictions(
    model: LatentDiffusion,
    text: Conditioning,
    noised: Float[Tensor, "n k c h w"],
    t: Real[Tensor, "n k"],
    micro_batch: int,
    precision: Precision = "float32",
) -> Float[Tensor, "n k c h w"]:
    """The model's prediction of the unit noise in noised latents, for each sample."""
    every, times, predicted = noised.flatten(0, 1), t.flatten(), []
    with torch.no_grad(), arithmetic(model, precision):
        for piece, own in zip(pieces(len(every), micro_batch), texts(text, t, micro_batch), strict=True):
            predicted.append(model.predict(every[piece].to(model.device), times[piece].to(model.device), own).cpu())
    return torch.cat(predicted).float().view(noised.shape)


def loss_and_gradient(
    model: LatentDiffusion,
    text: Conditioning,
    latents: Tensor,
    noise: Tensor,
    t: Tensor,
    micro_batch: int,
    precision: Precision,
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n c h w"]]:
    """The mean loss over the samples, and the gradient of the mean over the samples of summed squared errors."""
    losses, gradients = [], []
    each = zip(micro_batches(model, latents, noise, t, micro_batch), texts(text, t, micro_batch), strict=True)
    for (z, eps, times), own in each:
        with torch.enable_grad(), arithmetic(model, precision):
            z.requires_grad_(True)
            loss = model.error(z, eps, times, own)
            (gradient,) = torch.autograd.grad(loss.sum() * z[0].numel(), z)
        losses.append(loss.detach().cpu())
        gradients.append(gradient.cpu())
    return torch.cat(losses).float().view(t.shape).mean(1), torch.cat(gradients).float().view(noise.shape).mean(1)


def micro_batches(
    model: LatentDiffusion, latents: Tensor, noise: Tensor, t: Tensor, micro_batch: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """All n * k samples in order, as latents, noise [m, c, h, w] and timesteps [m] on the model's device, m at most
    `micro_batch` at a time.
    """
    samples = t.shape[1]
    eps, times = noise.flatten(0, 1), t.flatten()
    for piece in pieces(len(times), micro_batch):
        rows = torch.arange(len(times))[piece]
        # Indexing copies, so that no piece holds on to another's graph.
        yield latents[rows // samples].to(model.device), eps[rows].to(model.device), times[rows].to(model.device)


def texts(text: Conditioning, t: Real[Tensor, "n k"], micro_batch: int) -> list[Conditioning]:
    """The conditioning of each piece that `micro_batches` gives: the row of each sample's picture, or the one row."""
    if len(text) == 1:
        return [text] * len(pieces(t.numel(), micro_batch))
    pictures = torch.arange(len(t)).repeat_interleave(t.shape[1])
    return [text[pictures[piece]] for piece in pieces(t.numel(), micro_batch)]


def pieces(count: int, size: int) -> list[slice]:
    """Consecutive slices of at most `size` that cover `count`."""
    return [slice(start, start + size) for start in range(0, count, size)]


def arithmetic(model: LatentDiffusion, precision: Precision) -> AbstractContextManager:
    """A context for calls of a network: float32 as it is, the half precisions by autocast."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(model.device.type, getattr(torch, precision))


@contextmanager
def checkpointed(model: LatentDiffusion) -> Iterator[None]:
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
