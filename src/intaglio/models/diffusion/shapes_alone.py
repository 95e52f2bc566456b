"""Networks and their inputs with shapes alone, by which multiplications are counted and nothing is computed."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion


def without_memory(module: nn.Module) -> Any:
    """A copy of a module whose weights have shapes alone, on the device `meta`, without hooks of the module's users."""
    kept: dict[int, Any] = {
        id(weight): nn.Parameter(torch.empty_like(weight, device="meta"), requires_grad=False)
        for weight in module.parameters()
    }
    kept |= {id(tensor): torch.empty_like(tensor, device="meta") for tensor in module.buffers()}
    twin = copy.deepcopy(module, kept)
    for part in twin.modules():
        part._forward_hooks.clear()
        part._forward_pre_hooks.clear()
    return twin


def planned_row(model: LatentDiffusion) -> tuple[Tensor, Tensor, Mapping[str, Any]]:
    """Latents, a timestep and further inputs of one row, with shapes alone."""
    side = model.resolution // model.factor
    with torch.no_grad():
        inputs = model.denoiser_inputs(1, model.embed([""]))
    latents = torch.empty(1, model.latent_channels, side, side, dtype=model.dtype, device="meta")
    return latents, torch.zeros(1, dtype=torch.long, device="meta"), _shapes(inputs)


def _shapes(value: Any) -> Any:
    """Tensors without memory, in dictionaries as they are."""
    if isinstance(value, Mapping):
        return {name: _shapes(one) for name, one in value.items()}
    return value.to("meta") if isinstance(value, Tensor) else value
