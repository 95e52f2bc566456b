"""Steps of diffusion models and flows: a call of the denoiser, a decoding, prompts read, an update of the weights."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from intaglio.energy.layers.layer import NO_WORK, LayerFamily, SizedLayer, Step
from intaglio.energy.layers.parse import parse, parse_by_module, seen
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.flow.tarflow import TarFlow
from intaglio.sampling.guide import Guide, GuideContext

ADAPTER = 400
"""Weights of a denoiser over those of the smallest adapter whose update is profiled."""


def denoiser_step(
    model: LatentDiffusion,
    batch: int,
    *,
    size: tuple[int, int] | None = None,
    train: bool = False,
    latents_grad: bool = False,
) -> Step:
    """One call of the denoiser on a batch of latents.

    Args:
        model: with the gradients that training would want, for `train`.
        batch: latents at once, 1 or more.
        size: height and width of the pictures in pixels; None takes the model's own.
        train: whether a backward pass follows.
        latents_grad: whether that pass gives a gradient of the latents.
    """
    first, named = _denoiser_inputs(model, batch, size, latents_grad)
    return parse(model.denoiser, first, train=train, named=named)


def denoiser_parts(
    model: LatentDiffusion,
    denoiser: nn.Module,
    scopes: Collection[str],
    batch: int,
    *,
    size: tuple[int, int] | None = None,
    train: bool = False,
) -> dict[str, Step]:
    """One call of a denoiser in place of the model's own, by the modules that its layers are called in.

    Args:
        model: gives the inputs.
        denoiser: may be without memory for its weights.
        scopes: names of modules of the denoiser; `""` of the result is the rest.
        batch: latents at once, 1 or more.
        size: height and width of the pictures in pixels; None takes the model's own.
        train: whether a backward pass follows.
    """
    first, named = _denoiser_inputs(model, batch, size)
    return parse_by_module(denoiser, scopes, first, train=train, named=named)


def _denoiser_inputs(
    model: LatentDiffusion, batch: int, size: tuple[int, int] | None, latents_grad: bool = False
) -> tuple[Any, dict[str, Any]]:
    """The first argument of one call of the denoiser, and its others by name."""
    given = model.denoiser_inputs(batch, model.embed([""]).detach())
    times = torch.zeros(batch, dtype=torch.long, device=model.device)
    latents = _latents(model, batch, size).to(model.dtype).requires_grad_(latents_grad)
    first, named = model.family.arguments(latents, times, given)
    return first, {**named, "return_dict": False}


def latents_gradient_step(model: LatentDiffusion, batch: int) -> Step:
    """One call of a frozen denoiser on a batch of latents, and the backward pass that gives their gradient."""
    with model.frozen():
        return denoiser_step(model, batch, train=True, latents_grad=True)


def guided_step(model: LatentDiffusion, guide: Guide, batch: int) -> Step:
    """One step of a sampler under a guide on a batch of latents, seen while it is made once.

    A guide asks its models as it likes, and so is asked itself; the step that it takes is a real one, on blank latents.
    """
    latents, prompts = _latents(model, batch, None), ("",) * batch
    with torch.no_grad(), model.frozen():
        blank = model.embed([""]).detach()[[0] * batch]
        t = torch.zeros(batch, dtype=torch.long, device=model.device)
        context = GuideContext(model, prompts, blank, blank, (0,), 1.0)
        state = guide.init(context)
        return seen(lambda: guide.step(state, latents, t, model.predict))


def decoder_step(model: LatentDiffusion, batch: int, *, size: tuple[int, int] | None = None) -> Step:
    """One decoding of a batch of latents."""
    return parse(_Decoding(model), _latents(model, batch, size))


def encoder_step(model: LatentDiffusion, batch: int, *, size: tuple[int, int] | None = None) -> Step:
    """One encoding of a batch of pictures."""
    height, width = size or (model.resolution, model.resolution)
    return parse(_Encoding(model), torch.zeros(batch, 3, height, width, device=model.device))


def prompt_step(model: LatentDiffusion, batch: int) -> Step:
    """One reading of a batch of prompts by all text encoders."""
    steps = []
    for tokens, encoder in zip(model.tokens([""] * batch), model.text_encoders, strict=True):
        steps.append(parse(encoder, torch.zeros_like(tokens, device=model.device)))
    return sum(steps[1:], steps[0])


def update_step(trained: Iterable[Tensor]) -> Step:
    """One update of these tensors by AdamW."""
    sizes = [tensor.numel() for tensor in trained]
    return _update(sum(sizes), len(sizes)) if sizes else NO_WORK


def _update(numbers: int, tensors: int) -> Step:
    layer = SizedLayer(LayerFamily("optimiser", (("rule", "adamw"),)), (numbers, tensors))
    return Step({layer: 1}, steps=0)  # a part of the step whose gradients it takes


def flow_step(flow: TarFlow, batch: int) -> Step:
    """One forward and backward pass of a normalising flow on a batch of pictures."""
    height, width = flow.config.image_size
    pictures = torch.zeros(batch, flow.config.in_channels, height, width)
    return parse(flow, pictures, train=True)


def drawing_steps(model: LatentDiffusion, batches: Sequence[int]) -> list[Step]:
    """Everything that drawing with a model, in the precision of its weights, is made of at these batches."""
    found = []
    for batch in batches:
        found += [denoiser_step(model, batch), denoiser_step(model, 2 * batch), decoder_step(model, batch)]
        found += [encoder_step(model, batch), prompt_step(model, batch), prompt_step(model, 2 * batch)]
    return found


def diffusion_steps(model: LatentDiffusion, batches: Sequence[int]) -> list[Step]:
    """Everything that drawing, and training of all weights of the denoiser, is made of, at these batches."""
    found = drawing_steps(model, batches)
    with all_trained(model.denoiser):
        found += [denoiser_step(model, batch, train=True) for batch in batches]
    weights = list(model.denoiser.parameters())
    numbers = sum(weight.numel() for weight in weights)
    return [*found, update_step(weights), _update(max(1, numbers // ADAPTER), max(1, len(weights) // 4))]


@contextmanager
def all_trained(module: nn.Module) -> Iterator[None]:
    """Within the block, every weight of a module wants a gradient; what it was before is put back."""
    before = [(weight, weight.requires_grad) for weight in module.parameters()]
    try:
        module.requires_grad_(True)
        yield
    finally:
        for weight, wanted in before:
            weight.requires_grad_(wanted)


class _Decoding(nn.Module):
    def __init__(self, model: LatentDiffusion):
        super().__init__()
        self.family, self.autoencoder = model.family, model.autoencoder

    def forward(self, latents: Tensor) -> Tensor:
        return self.family.decoded(self.autoencoder, self.family.unscaled(self.autoencoder, latents))


class _Encoding(nn.Module):
    def __init__(self, model: LatentDiffusion):
        super().__init__()
        self.family, self.autoencoder = model.family, model.autoencoder

    def forward(self, pixels: Tensor) -> Tensor:
        return self.family.scaled(self.autoencoder, self.family.encoded(self.autoencoder, pixels)[0])


def _latents(model: LatentDiffusion, batch: int, size: tuple[int, int] | None) -> Tensor:
    height, width = size or (model.resolution, model.resolution)
    shape = (batch, model.latent_channels, height // model.factor, width // model.factor)
    return torch.zeros(shape, device=model.device)
