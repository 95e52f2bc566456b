"""Importance of the hidden units of a U-Net: what a factor on what they hand on does to the denoising error."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from intaglio.denoising.picture_samples import PictureSamples
from intaglio.models.diffusion.hidden_widths import HiddenWidth, hidden_widths
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run

Importances = Mapping[str, Float64[Tensor, " units"]]
"""Importance of each unit of every hidden width, by its scope; at least 0."""


def unit_importances(
    model: LatentDiffusion, samples: PictureSamples, micro_batch: int, *, run: Run = Run.none()
) -> Importances:
    """Importance of every unit: the mean over samples of (dL / dg)², at g = 1.

    L is a sample's denoising error, and g a factor on the channels of the unit as the next layer takes them, which at 0
    removes it: dL / dg is the sum of weight times gradient over that layer's weights of the unit. Each sample has a
    factor of its own, whatever samples go through the network together.

    Source: arXiv 1906.10771, of which this is the first-order form with a gate; there it is a mean over batches.

    Args:
        model: left as found.
        samples: of pictures that the model is to be good at.
        micro_batch: samples at once, which change the result by rounding alone.
        run: shows the progress.
    """
    widths = hidden_widths(model.denoiser)
    totals = {scope: torch.zeros(one.units, dtype=torch.float64) for scope, one in widths.items()}
    with model.frozen(), torch.enable_grad(), run.progress(len(samples), "importance") as progress:
        for latents, noise, timesteps, conditioning in samples.pieces(model, micro_batch):
            with _gated(model.denoiser, widths, len(latents)) as gates:
                loss = model.error(latents, noise, timesteps, conditioning).sum()
                gradients = torch.autograd.grad(loss, list(gates.values()), allow_unused=True)
            for scope, gradient in zip(gates, gradients, strict=True):
                if gradient is not None:  # a block that is not called has no part in the error
                    totals[scope] += gradient.double().square().sum(0).cpu()
            progress.advance(len(latents))
    return {scope: total / len(samples) for scope, total in totals.items()}


@contextmanager
def _gated(denoiser: Any, widths: Mapping[str, HiddenWidth], count: int) -> Iterator[dict[str, Tensor]]:
    """Within the block, a factor of 1, a leaf [count, units], acts on the units of every hidden width."""
    gates: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for scope, one in widths.items():
            consumer = denoiser.get_submodule(f"{scope}.{one.consumer}")
            gates[scope] = torch.ones(count, one.units, device=consumer.weight.device, requires_grad=True)
            handle = consumer.register_forward_pre_hook(_factor(gates[scope], one.unit))
            hooks.callback(handle.remove)
        yield gates


def _factor(gate: Tensor, unit: int) -> Any:
    """A hook that multiplies a layer's input, channels second in a convolution's and last in a matrix's."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        first, *rest = inputs
        factors = gate.repeat_interleave(unit, 1).to(first.dtype)
        places = (1,) * (first.dim() - 2)
        shape = (len(gate), -1, *places) if isinstance(module, nn.Conv2d) else (len(gate), *places, factors.shape[1])
        return first * factors.view(shape), *rest

    return hook
