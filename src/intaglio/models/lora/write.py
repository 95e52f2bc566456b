"""Writing LoRA files: the layout of diffusers (with PEFT's configuration) and that of kohya's sd-scripts."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
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

Layers = Mapping[str, Mapping[str, Layer]]

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


def only_pairs(layers: Mapping[str, Mapping[str, AdapterLayer]], source: str) -> Layers:
    """The same layers, all of them low-rank pairs. Raises `BadInput`, naming `source`, for a layer of another kind."""
    pairs: dict[str, dict[str, Layer]] = {}
    for part, found in layers.items():
        for path, layer in found.items():
            if not isinstance(layer, Layer):
                raise BadInput(
                    f"{source} changes {path} by a {layer.kind}, and only plain LoRAs can be written; "
                    "keep its own file, or merge it into the model"
                )
            pairs.setdefault(part, {})[path] = layer
    return pairs


def written(
    layers: Layers,
    names: ModelNames | None,
    path: Path,
    layout: str,
    metadata: dict[str, str],
    dtype: torch.dtype | None,
) -> None:
    """Write `layers` to `path`; see `LoRA.write`."""
    if names is None:
        raise ValueError("a LoRA that was read from a file needs `named_for(model)` before it is written")
    if layout == "diffusers":
        tensors, own = _diffusers(layers, names)
    elif layout == "kohya":
        tensors = _kohya(layers, names)
        own = _kohya_metadata(layers, names, metadata.get("modelspec.title", path.stem))
    else:
        raise ValueError(f"layout must be 'diffusers' or 'kohya', not {layout!r}")
    tensors = {
        key: tensor.detach().to("cpu", dtype if dtype and tensor.ndim else tensor.dtype).contiguous()
        for key, tensor in tensors.items()
    }
    atomic_write(path, save(tensors, metadata={"format": "pt", **own, **metadata}))


def _diffusers(layers: Layers, names: ModelNames) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    tensors, config = {}, {}
    for part, found in layers.items():
        prefix = _PREFIX.get(part, part) if names.layout or part in TEXT_PARTS else "transformer"
        for path, layer in found.items():
            key = f"{prefix}.{text_path(path) if part in TEXT_PARTS else path}"
            tensors |= {f"{key}.lora_A.weight": layer.down, f"{key}.lora_B.weight": layer.up}
        config |= {f"{prefix}.{key}": value for key, value in _peft_config(found).items()}
    return tensors, {ADAPTER_METADATA: json.dumps(config, indent=2, sort_keys=True)}


def _peft_config(layers: Mapping[str, Layer]) -> dict:
    """The fields of PEFT's `LoraConfig` that give every layer its rank and alpha."""
    rank = _commonest(layer.rank for layer in layers.values())
    alpha = _commonest(layer.alpha for layer in layers.values())
    return {
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {path: layer.rank for path, layer in layers.items() if layer.rank != rank},
        "alpha_pattern": {path: layer.alpha for path, layer in layers.items() if layer.alpha != alpha},
        "target_modules": sorted(layers),
        "use_rslora": False,
        "use_dora": False,
    }


def _kohya(layers: Layers, names: ModelNames) -> dict[str, torch.Tensor]:
    tensors = {}
    for part, found in layers.items():
        for key, layer in (_published(found, names) if part == "denoiser" else _named(part, found, names)).items():
            tensors |= {
                f"{key}.lora_down.weight": layer.down,
                f"{key}.lora_up.weight": layer.up,
                f"{key}.alpha": torch.tensor(layer.alpha),
            }
    return tensors


def _named(part: str, layers: Mapping[str, Layer], names: ModelNames) -> dict[str, Layer]:
    return {names.kohya(part, path): layer for path, layer in layers.items()}


def _published(layers: Mapping[str, Layer], names: ModelNames) -> dict[str, Layer]:
    """The changes of a denoiser's modules as those of the published network, where this has joined some."""
    found: dict[str, Layer] = {}
    for path, layer in layers.items():
        place = names.places.get(path)
        if place is None or place.place is None:
            found[names.kohya("denoiser", path)] = layer if place is None or not place.swapped else swapped(layer)
            continue
        paths = names.joined[place.name]
        change = joined([layers.get(member) for member in paths], [names.rows[member] for member in paths])
        found[names.kohya("denoiser", path)] = change
    return found


def _kohya_metadata(layers: Layers, names: ModelNames, title: str) -> dict[str, str]:
    every = [layer for found in layers.values() for layer in found.values()]
    ranks, alphas = {layer.rank for layer in every}, {layer.alpha for layer in every}
    metadata = {
        "ss_network_module": "networks.lora",
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


def _commonest(values: Iterable) -> int | float:
    return Counter(values).most_common(1)[0][0]
