"""Atomic writing of a model as a diffusers folder, with plain weights or with packed ones."""

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import diffusers
import torch
from safetensors.torch import save_file
from torch import Tensor

from intaglio.files import atomic_folder
from intaglio.models.diffusion.components import Components, suffix
from intaglio.models.library_logging import quiet_libraries
from intaglio.models.packing.packed_file import NAME as PACKED
from intaglio.models.packing.packed_file import Packing, write_packed
from intaglio.models.packing.packed_weight import PackedWeight

ABSENT_COMPONENT = [None, None]
"""Entry of `model_index.json` for a component that the pipeline may have and this model has not."""


class PackedPart(NamedTuple):
    """The packed weights of one network, and how they were made."""

    weights: Mapping[str, PackedWeight]
    """By the weights' names in the network."""
    packing: Packing


def save_folder(
    model: Components, folder: Path, packed: Mapping[str, PackedPart] | None = None, halved: Collection[str] = ()
) -> None:
    """Writes a folder beside `folder`, syncs it and renames it; errors as of `LatentDiffusion.save`.

    With `packed`, of parts by name, these are stored in few bits, and every other weight in half precision where that
    loses nothing; those of the parts `halved` rounded to it, but for a weight that would overflow.
    """
    with atomic_folder(folder, "model_index.json") as fresh:
        _write(model, fresh, packed, halved)


def _write(model: Components, folder: Path, packed: Mapping[str, PackedPart] | None, halved: Collection[str]) -> None:
    networks = {model.family.folder: "denoiser", "vae": "autoencoder"}
    components = {model.family.folder: model.denoiser, "vae": model.autoencoder}
    for place, (encoder, tokenizer) in enumerate(zip(model.text_encoders, model.tokenizers, strict=True)):
        end = suffix(place)
        components |= {f"text_encoder{end}": encoder, f"tokenizer{end}": tokenizer}
        networks |= {f"text_encoder{end}": f"text_encoder{end}"}
    with quiet_libraries():
        for name, component in components.items():
            if packed is None or name not in networks:
                component.save_pretrained(folder / name)
            else:
                part = networks[name]
                _write_narrow(component, folder / name, packed.get(part), half if part in halved else narrowest)
    scheduler = {"_class_name": "DDIMScheduler", **model.scheduler}
    (folder / "scheduler").mkdir()
    _write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    if model.sampling != model.family.sampling(model):
        model.sampling.write(folder)
    _write_json(folder / "model_index.json", _index(model, components, scheduler["_class_name"]))


def _write_narrow(network: Any, folder: Path, packed: PackedPart | None, narrowed: Callable[[Tensor], Tensor]) -> None:
    """A network's settings, and its weights: packed, or narrowed."""
    folder.mkdir()
    of_diffusers = isinstance(network, diffusers.ModelMixin)
    (network.save_config if of_diffusers else network.config.save_pretrained)(folder)
    weights = network.state_dict()
    if packed is not None:
        others = {name: narrowest(weight) for name, weight in weights.items() if name not in packed.weights}
        write_packed(folder / PACKED, packed.weights, others, packed.packing)
        return
    plain = {name: narrowed(weight).cpu().contiguous() for name, weight in weights.items()}
    name = "diffusion_pytorch_model.safetensors" if of_diffusers else "model.safetensors"
    save_file(plain, folder / name, metadata={"format": "pt"})


def half(weight: Tensor) -> Tensor:
    """The weight rounded to half precision, or as it is where a number of it would overflow."""
    rounded = weight.to(torch.float16)
    return rounded if weight.is_floating_point() and bool(torch.isfinite(rounded).all()) else weight


def narrowest(weight: Tensor) -> Tensor:
    """The weight in half precision where every number of it is one, else as it is."""
    half = weight.to(torch.float16)
    return half if weight.is_floating_point() and torch.equal(half.to(weight.dtype), weight) else weight


def _index(model: Components, components: dict[str, Any], scheduler_class: str) -> dict[str, Any]:
    libraries = {name: type(component).__module__.partition(".")[0] for name, component in components.items()}
    index: dict[str, Any] = {
        name: [libraries[name], type(component).__name__] for name, component in components.items()
    }
    pipeline = model.family.pipeline(model)
    kept = {key: value for key, value in model.options.items() if key != "requires_safety_checker"}
    return {
        "_class_name": pipeline.name,
        "_diffusers_version": diffusers.__version__,
        "scheduler": ["diffusers", scheduler_class],
        **dict.fromkeys(pipeline.absent, ABSENT_COMPONENT),
        **pipeline.defaults,
        **kept,
        **index,
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
