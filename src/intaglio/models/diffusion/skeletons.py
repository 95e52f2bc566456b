"""Networks without memory for their weights, and the filling of them, tensor by checked tensor."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from intaglio.models.diffusion.unet_edits import edit
from intaglio.models.library_logging import quiet_libraries

Shapes = dict[str, tuple[int, ...]]

TEXT_KINDS = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
"""Classes of the text encoders, by part."""


def skeleton(part: str, config: Any) -> nn.Module:
    """A part's network on the meta device, without memory for its weights; settings as a mapping or a config.

    Raises `ValueError` for edits of a U-Net's modules that it cannot have (`unet_edits`).
    """
    with torch.device("meta"), quiet_libraries():
        if part in TEXT_KINDS:
            return TEXT_KINDS[part](config if isinstance(config, CLIPTextConfig) else CLIPTextConfig(**config))
        kind: Any = UNet2DConditionModel if part == "denoiser" else AutoencoderKL
        network = kind.from_config(dict(config))
        edit(network, config)
        return network


def shapes_of(module: nn.Module) -> Shapes:
    """Shape of each weight of a network, by name."""
    return {name: tuple(weight.shape) for name, weight in module.state_dict().items()}


def filled(module: nn.Module, weight_of: Callable[[str], Tensor], dtype: torch.dtype) -> nn.Module:
    """The network, in evaluation mode, with the weights that `weight_of` gives for its names, in their shapes."""
    module.load_state_dict({name: weight_of(name).to(dtype) for name in module.state_dict()}, assign=True)
    for name, buffer in list(module.named_buffers()):
        if buffer.is_meta:  # CLIP counts its positions in a buffer that no file stores
            owner, _, last = name.rpartition(".")
            setattr(module.get_submodule(owner), last, torch.arange(buffer.shape[-1]).expand(buffer.shape))
    return module.eval()
