"""Networks without memory for their weights, and the filling of them, tensor by checked tensor."""

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from intaglio.models.diffusion.unet_edits import edit
from intaglio.models.library_logging import quiet_libraries

Shapes = dict[str, tuple[int, ...]]

CLASSES = {
    "AutoencoderKLQwenImage": "diffusers.models.autoencoders.autoencoder_kl_qwenimage",
    "AutoencoderKL": "diffusers.models.autoencoders.autoencoder_kl",
    "UNet2DConditionModel": "diffusers.models.unets.unet_2d_condition",
    "SD3Transformer2DModel": "diffusers.models.transformers.transformer_sd3",
    "FluxTransformer2DModel": "diffusers.models.transformers.transformer_flux",
    "ZImageTransformer2DModel": "diffusers.models.transformers.transformer_z_image",
    "Flux2Transformer2DModel": "diffusers.models.transformers.transformer_flux2",
    "AutoencoderKLFlux2": "diffusers.models.autoencoders.autoencoder_kl_flux2",
    "ChromaTransformer2DModel": "diffusers.models.transformers.transformer_chroma",
    "PixArtTransformer2DModel": "diffusers.models.transformers.pixart_transformer_2d",
    "QwenImageTransformer2DModel": "diffusers.models.transformers.transformer_qwenimage",
    "Lumina2Transformer2DModel": "diffusers.models.transformers.transformer_lumina2",
    "AuraFlowTransformer2DModel": "diffusers.models.transformers.auraflow_transformer_2d",
    "SanaTransformer2DModel": "diffusers.models.transformers.sana_transformer",
    "AutoencoderDC": "diffusers.models.autoencoders.autoencoder_dc",
    "UMT5EncoderModel": "transformers",
    "Mistral3ForConditionalGeneration": "transformers",
    "Qwen2_5_VLForConditionalGeneration": "transformers",
    "Gemma2Model": "transformers",
    "CLIPTextModel": "transformers",
    "CLIPTextModelWithProjection": "transformers",
    "T5EncoderModel": "transformers",
    "Qwen3Model": "transformers",
    "Qwen3ForCausalLM": "transformers",
}
"""Modules of the networks' classes, each imported when a model has one: all of them take seconds."""

COMPUTED = frozenset(
    {
        "ChromaTransformer2DModel",
        "Gemma2Model",
        "Lumina2Transformer2DModel",
        "Mistral3ForConditionalGeneration",
        "PixArtTransformer2DModel",
        "QwenImageTransformer2DModel",
        "Qwen2_5_VLForConditionalGeneration",
        "SanaTransformer2DModel",
    }
)
"""Classes with tensors that no file stores, as they follow from the settings; these have values in a skeleton."""


class _WeightsOnMeta(TorchFunctionMode):
    """Puts the uninitialised tensors that layers make their weights of on the meta device, and nothing else."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        return func(*args, **(given | {"device": "meta"} if func is torch.empty else given))


def network_class(kind: str) -> Any:
    """A class of `CLASSES`."""
    return getattr(import_module(CLASSES[kind]), kind)


def skeleton(kind: str, config: Any) -> nn.Module:
    """A network of a class in `CLASSES` on the meta device, without memory for its weights.

    Settings are a mapping, or a config of transformers. Raises `ValueError` for edits of a U-Net's modules that it
    cannot have (`unet_edits`).
    """
    place = _WeightsOnMeta() if kind in COMPUTED else torch.device("meta")
    with place, quiet_libraries(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # on what diffusers imports for itself, as for Chroma
        made = network_class(kind)
        if CLASSES[kind] == "transformers":
            return made(config if isinstance(config, made.config_class) else made.config_class(**config))
        network = made.from_config(dict(config))
        if kind == "UNet2DConditionModel":
            edit(network, config)
        return network


def shapes_of(module: nn.Module) -> Shapes:
    """Shape of each weight of a network, by name."""
    return {name: tuple(weight.shape) for name, weight in module.state_dict().items()}


def filled(module: nn.Module, weight_of: Callable[[str], Tensor], dtype: torch.dtype) -> nn.Module:
    """The network, in evaluation mode, with the weights that `weight_of` gives for its names, in their shapes."""
    own = module.state_dict()
    counts = {name: torch.zeros(one.shape, dtype=one.dtype) for name, one in own.items() if not one.is_floating_point()}
    weights = {name: weight_of(name).to(dtype) for name in own if name not in counts}
    module.load_state_dict({**weights, **counts}, assign=True)  # counts of training steps are without effect
    for name, buffer in list(module.named_buffers()):
        if buffer.is_meta:
            owner, _, last = name.rpartition(".")
            setattr(module.get_submodule(owner), last, _computed(module.get_submodule(owner), last, buffer))
    _tie(module)
    return module.eval()


def _tie(module: Any) -> None:
    """Lets a language model that writes with the embeddings it reads with hold them once."""
    if hasattr(module, "lm_head") and module.config.tie_word_embeddings:
        module.lm_head.weight = module.get_input_embeddings().weight


def restore_frequencies(module: nn.Module) -> None:
    """Computes the frequencies of rotations again, in float32, where a change of precision has rounded them.

    At a place of some hundreds, rounded ones would be turned by another angle.
    """
    for owner in module.modules():
        for name, buffer in list(owner.named_buffers(recurse=False)):
            if name.endswith("inv_freq") and buffer.dtype != torch.float32:
                setattr(owner, name, _computed(owner, name, buffer).to(buffer.device))


def _computed(owner: Any, name: str, buffer: Tensor) -> Tensor:
    """A buffer that no file stores: CLIP's count of positions, or the frequencies of rotations by position."""
    if name.endswith("inv_freq"):
        return getattr(type(owner)(owner.config), name)
    return torch.arange(buffer.shape[-1]).expand(buffer.shape)
