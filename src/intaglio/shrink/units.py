"""`DenoiserUnit`: a part of a denoiser that is reconstructed at once, and all of them in the order of their calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.embeddings import TimestepEmbedding
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from torch.func import functional_call

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.shrink.layers import WeightLayer, weight_layers

BLOCKS = (ResnetBlock2D, BasicTransformerBlock, TimestepEmbedding)
"""Modules that are units whole; every weight layer outside of them is a unit by itself."""


@dataclass(frozen=True, eq=False)
class DenoiserUnit:
    """A module of a denoiser, with its weight layers."""

    path: str
    """Of the module in the denoiser; of a module that is made for the purpose, its name."""
    module: nn.Module
    layers: Mapping[str, WeightLayer] = field(default_factory=dict)
    """By the names of their weights in the module."""

    def __call__(self, weights: Mapping[str, Tensor], given: Sequence[Any], named: Mapping[str, Any]) -> Tensor:
        """The module's output under these weights in place of its own, for its arguments."""
        return functional_call(self.module, dict(weights), tuple(given), dict(named))


def denoiser_units(model: LatentDiffusion) -> list[DenoiserUnit]:
    """The units of a model's denoiser that one call of it runs, in the order of their calls.

    They are the residual blocks, the transformer blocks, the embeddings of the time, and each other linear layer or
    convolution. A layer that a call does not run is in none.
    """
    found: dict[str, tuple[Any, dict[str, WeightLayer]]] = {}
    for layer in weight_layers(model):
        path = _block_around(model.denoiser, layer.path)
        module = model.denoiser.get_submodule(path)
        found.setdefault(path, (module, {}))[1][layer.name[len(path) + 1 :]] = layer
    units = {path: DenoiserUnit(path, module, layers) for path, (module, layers) in found.items()}
    return [units[path] for path in _called(model, {path: unit.module for path, unit in units.items()})]


def _block_around(denoiser: nn.Module, path: str) -> str:
    """The path of the outermost block that a layer is in; its own where it is in none."""
    names = path.split(".")
    for count in range(1, len(names)):
        if isinstance(denoiser.get_submodule(around := ".".join(names[:count])), BLOCKS):
            return around
    return path


@torch.no_grad()
def _called(model: LatentDiffusion, modules: Mapping[str, nn.Module]) -> list[str]:
    """The paths of modules in the order in which a call of the denoiser first runs them."""
    order: dict[str, None] = {}
    hooks = [
        module.register_forward_pre_hook(lambda *_, path=path: order.setdefault(path))
        for path, module in modules.items()
    ]
    side = 2 ** len(model.denoiser.config["block_out_channels"])
    latents = torch.zeros(1, model.latent_channels, side, side, device=model.device)
    try:
        with model.frozen():
            model.predict(latents, torch.zeros(1, dtype=torch.long, device=model.device), model.embed([""]))
    finally:
        for hook in hooks:
            hook.remove()
    return list(order)
