"""Writing LoRA files: the layout of diffusers (with PEFT's configuration) and that of kohya's sd-scripts."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save

from intaglio.errors import BadInput
from intaglio.files import atomic_write
from intaglio.models.lora.adapter_layers import AdapterLayer, Layer
from intaglio.models.lora.joined_layers import joined, swapped
from intaglio.models.lora.keys import TEXT_PARTS
from intaglio.models.lora.module_names import ModelNames, text_path
from intaglio.models.lora.peft_config import ADAPTER_METADATA
from intaglio.models.lora.written_layers import Found, lycoris_tensors, peft_tensors, rank_and_alpha

Layers = Mapping[str, Found]

_PREFIX = {"denoiser": "unet"}
_KOHYA_BASE = {"sd1": "sd_v1", "sd2": "sd_v2", "sdxl": "sdxl_base_v1-0"}
_ARCHITECTURE = {
    "sd1": ("stable-diffusion-v1/lora", "diffusers"),
    "sd2": ("stable-diffusion-v2-512/lora", "diffusers"),
    "sdxl": ("stable-diffusion-xl-v1-base/lora", "https://github.com/Stability-AI/generative-models"),
    "sd3": ("stable-diffusion-3/lora", "https://github.com/Stability-AI/generative-models"),
    "flux1": ("flux-1/lora", "https://github.com/black-forest-labs/flux"),
    "zimage": ("z-image/lora", "https://github.com/Tongyi-MAI/Z-Image"),
    "flux2": ("flux-2/lora", "https://github.com/black-forest-labs/flux2"),
    "chroma": ("chroma/lora", "https://github.com/black-forest-labs/flux"),
    "qwen-image": ("qwen-image/lora", "https://github.com/QwenLM/Qwen-Image"),
    "flux2-dev": ("flux-2-dev/lora", "https://github.com/black-forest-labs/flux2"),
    "sana": ("sana/lora", "https://github.com/NVlabs/Sana"),
    "auraflow": ("auraflow/lora", "https://github.com/cloneofsimo/minRF"),
    "lumina2": ("lumina-2/lora", "https://github.com/Alpha-VLLM/Lumina-Image-2.0"),
    "pixart-sigma": ("pixart-sigma/lora", "https://github.com/PixArt-alpha/PixArt-sigma"),
}


def written(
    layers: Layers,
    source: str,
    names: ModelNames | None,
    path: Path,
    layout: str,
    metadata: dict[str, str],
    dtype: torch.dtype | None,
) -> None:
    """Write `layers` to `path`; see `LoRA.write`. Errors name `source`."""
    if names is None:
        raise ValueError("a LoRA that was read from a file needs `named_for(model)` before it is written")
    if layout == "diffusers":
        tensors, own = _diffusers(layers, source, names)
    elif layout == "kohya":
        tensors = _kohya(layers, source, names)
        _warn_of_magnitudes(tensors)
        own = _kohya_metadata(layers, names, metadata.get("modelspec.title", path.stem))
    else:
        raise ValueError(f"layout must be 'diffusers' or 'kohya', not {layout!r}")
    # Copied, since the format takes no tensors that share memory, as those of a layer that was taken apart do.
    tensors = {
        key: tensor.detach().to("cpu", dtype if dtype and tensor.ndim else tensor.dtype).contiguous().clone()
        for key, tensor in tensors.items()
    }
    atomic_write(path, save(tensors, metadata={"format": "pt", **own, **metadata}))


def _diffusers(layers: Layers, source: str, names: ModelNames) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    tensors, config = {}, {}
    for part, found in layers.items():
        prefix = _PREFIX.get(part, part) if names.layout or part in TEXT_PARTS else "transformer"
        of_paths, fields = peft_tensors(found, source)
        for path, slots in of_paths.items():
            key = f"{prefix}.{text_path(path) if part in TEXT_PARTS else path}"
            tensors |= {f"{key}.{slot}": tensor for slot, tensor in slots.items()}
        config |= {f"{prefix}.{key}": value for key, value in fields.items()}
    return tensors, {ADAPTER_METADATA: json.dumps(config, indent=2, sort_keys=True)}


def _kohya(layers: Layers, source: str, names: ModelNames) -> dict[str, torch.Tensor]:
    tensors = {}
    for part, found in layers.items():
        named = _published(found, source, names) if part == "denoiser" else _named(part, found, names)
        for key, layer in named.items():
            try:
                tensors |= {f"{key}.{slot}": tensor for slot, tensor in lycoris_tensors(layer).items()}
            except ValueError as error:
                raise BadInput(f"{source} cannot be written: {error} ({key}); merge it into the model") from None
    return tensors


def _warn_of_magnitudes(tensors: Mapping[str, torch.Tensor]) -> None:
    names = {key.removesuffix(".dora_scale") for key in tensors if key.endswith(".dora_scale")}
    if any(f"{name}.lora_up.weight" in tensors for name in names):
        warnings.warn(
            "the DoRA is written for kohya's tools, LyCORIS and ComfyUI; diffusers leaves its dora_scale out, "
            "and needs the layout 'diffusers'",
            stacklevel=4,
        )


def _named(part: str, layers: Found, names: ModelNames) -> dict[str, AdapterLayer]:
    return {names.kohya(part, path): layer for path, layer in layers.items()}


def _published(layers: Found, source: str, names: ModelNames) -> dict[str, AdapterLayer]:
    """The changes of a denoiser's modules as those of the published network, where this has joined some."""
    found: dict[str, AdapterLayer] = {}
    for path, layer in layers.items():
        key, place = names.kohya("denoiser", path), names.places.get(path)
        try:
            if place is None or place.place is None:
                found[key] = layer if place is None or not place.swapped else swapped(layer)
            elif key not in found:
                paths = names.joined[place.name]
                found[key] = joined([layers.get(one) for one in paths], [names.rows[one] for one in paths])
        except ValueError as error:
            raise BadInput(
                f"{source} cannot be written in kohya's layout, which has {key} as one layer: {error}; "
                "write it in diffusers' layout, or merge it into the model"
            ) from None
    return found


def _kohya_metadata(layers: Layers, names: ModelNames, title: str) -> dict[str, str]:
    every = [layer for found in layers.values() for layer in found.values()]
    numbers = [it for it in map(rank_and_alpha, every) if it is not None]
    ranks, alphas = {rank for rank, _ in numbers}, {alpha for _, alpha in numbers}
    plain = all(isinstance(layer, Layer) for layer in every)
    metadata = {
        "ss_network_module": "networks.lora" if plain else "lycoris.kohya",
        "ss_network_dim": str(ranks.pop()) if len(ranks) == 1 else "Dynamic",
        "ss_network_alpha": f"{alphas.pop():g}" if len(alphas) == 1 else "Dynamic",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.title": title,
        "modelspec.prediction_type": "v" if names.prediction == "v_prediction" else names.prediction,
    }
    if names.family:
        architecture, implementation = _ARCHITECTURE[names.family]
        velocity = names.family == "sd2" and names.prediction == "v_prediction"
        metadata |= {
            "ss_base_model_version": _KOHYA_BASE.get(names.family, names.family),
            "ss_v2": str(names.family == "sd2"),
            "modelspec.architecture": architecture.replace("v2-512", "v2-768-v") if velocity else architecture,
            "modelspec.implementation": implementation,
        }
    return metadata
