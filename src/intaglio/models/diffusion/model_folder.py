"""Folders of models in diffusers' layout: their components, and the completion from a base of what is missing."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from intaglio.data_files import EXPORT_AGAIN, Fields, shown
from intaglio.errors import BadInput
from intaglio.models.diffusion.baked_sampling import BakedSampling
from intaglio.models.diffusion.component_folders import (
    TOKENS,
    Base,
    Remarks,
    read_network,
    read_scheduler,
    read_tokenizer,
)
from intaglio.models.diffusion.components import Components, suffix
from intaglio.models.diffusion.families.family import Family
from intaglio.models.diffusion.families.known import FAMILIES, NAMES, family_of_class
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.lent_parts import lent_parts
from intaglio.models.diffusion.prompt_lengths import fitted
from intaglio.models.diffusion.support import refuse_misfits
from intaglio.models.diffusion.weight_sets import SAFE_EXPORT
from intaglio.models.weights_file import PICKLE_SUFFIXES

INDEX = "model_index.json"
_WITHOUT_EFFECT = ("safety_checker", "feature_extractor", "watermark", "watermarker")


@dataclass
class _Found:
    """Components of a folder, by their names in `model_index.json`."""

    family: Family
    parts: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    remarks: Remarks = field(default_factory=Remarks)


def read_folder(folder: Path, base: Base | None, dtype: torch.dtype = torch.float32) -> LatentDiffusion:
    """The model in a folder. `base` gives the model that parts it lacks are taken from; None: there is no such model.

    `dtype` is the precision of denoiser and text encoders; the autoencoder's is float32.
    Raises `BadInput` where a component is missing, damaged or of an unsupported kind.
    """
    found = _read_parts(folder, base, dtype)
    if missing := _missing(found):
        if base is None:
            names = ", ".join(missing)
            raise BadInput(f"{folder} has no {names}; give a whole diffusers folder, or the base that it belongs to")
        _complete(found, base())
    family, ends = found.family, [end for end in _ends(found.family) if f"text_encoder{end}" in found.parts]
    encoders = [found.parts[f"text_encoder{end}"] for end in ends]
    tokenizers, notes = fitted([found.parts[f"tokenizer{end}"] for end in ends], encoders)
    return LatentDiffusion(
        denoiser=found.parts[family.folder],
        autoencoder=found.parts["vae"],
        text_encoders=encoders,
        tokenizers=tokenizers,
        scheduler=found.parts["scheduler"],
        name=folder.resolve().name,
        source=folder,
        options=found.options,
        notes=[*found.remarks.notes, *notes, *family.side_notes(found.parts["vae"])],
        unused=found.remarks.unused,
        sampling=BakedSampling.read(folder),
        packing=found.remarks.packing,
    )


def _ends(family: Family) -> list[str]:
    """The ends of the names of a family's text encoders and tokenizers."""
    return [suffix(place) for place in range(len(family.texts))]


def _missing(found: _Found) -> list[str]:
    family, wanted = found.family, [found.family.folder, "vae", "scheduler"]
    denoiser = found.parts.get(family.folder)
    for end, slot in zip(_ends(family), family.texts, strict=True):
        pair = (f"text_encoder{end}", f"tokenizer{end}")
        # One second component without the other is as incomplete as one of the first.
        if not slot.optional or set(pair) & set(found.parts) or family.needs_text(denoiser, end):
            wanted += pair
    return [name for name in wanted if name not in found.parts]


def _complete(found: _Found, base: LatentDiffusion) -> None:
    """Adds the missing components from `base`, with copies of its weights, and a note that lists them."""
    folder = found.family.folder
    given = lent_parts(base, found.family, found.parts.get(folder))
    borrowed = [name for name in given if name not in found.parts]
    for name in borrowed:
        found.parts[name] = copy.deepcopy(given[name]) if name.startswith((folder, "text")) else given[name]
    found.options = {**base.options, **found.options}
    found.remarks.packing |= {
        part: how for part, how in base.packing.items() if _component(part, found.family) in borrowed
    }
    found.remarks.notes.insert(0, f"{', '.join(borrowed)} taken from {base.name}")


def _read_parts(folder: Path, base: Base | None, dtype: torch.dtype) -> _Found:
    index = Fields.read(folder / INDEX).values if (folder / INDEX).exists() else {}
    kind = index.get("_class_name", "")
    if not isinstance(kind, str | list):  # a list names a pipeline of one's own, and its file
        raise BadInput(f"{folder / INDEX} has _class_name {shown(kind)}, where a class is due; {EXPORT_AGAIN}")
    family = _family(folder, str(kind))
    remarks = Remarks()
    if not index and (folder / "config.json").exists():
        alone = read_network("denoiser", family.denoiser, folder, remarks, base, dtype)
        return _Found(family, {family.folder: alone}, remarks=remarks)
    options = {key: value for key, value in index.items() if not isinstance(value, list) and not key.startswith("_")}
    found = _Found(family, options=options, remarks=remarks)
    readers = _readers(family, remarks, base, dtype, lambda network: _check_reasons(folder, found, network))
    for name, read in readers.items():
        if (folder / name).is_dir() and not _declared_absent(folder, index, name):
            found.parts[name] = read(folder / name)
    if not found.parts:
        raise _nothing_in(folder)
    remarks.notes += _passed_over(folder, index, set(readers))
    remarks.notes += _contradicted(folder, index, found)
    return found


def _readers(
    family: Family, remarks: Remarks, base: Base | None, dtype: torch.dtype, check: Callable[[nn.Module], None]
) -> dict[str, Callable[[Path], Any]]:
    """Readers of the components' folders, by name; the denoiser, the largest, is the last to be read."""
    common = {"remarks": remarks, "base": base, "dtype": dtype}
    readers: dict[str, Callable[[Path], Any]] = {
        "vae": partial(read_network, "autoencoder", family.autoencoder, remarks=remarks),
        "scheduler": partial(read_scheduler, family=family, remarks=remarks),
    }
    for end, slot in zip(_ends(family), family.texts, strict=True):
        part = f"text_encoder{end}"
        readers[part] = partial(read_network, part, slot.network, **common)
        readers[f"tokenizer{end}"] = partial(read_tokenizer, slot.tokenizer)
    readers[family.folder] = partial(read_network, "denoiser", family.denoiser, check=check, **common)
    return readers


def _check_reasons(folder: Path, found: _Found, network: nn.Module) -> None:
    """Raises `BadInput`, before the denoiser's weights are read, where its settings do not fit the other parts."""
    family, ends = found.family, [end for end in _ends(found.family) if f"text_encoder{end}" in found.parts]
    if family.folder != "transformer" or _missing(replace(found, parts={**found.parts, family.folder: network})):
        return
    parts = Components(
        denoiser=network,
        autoencoder=found.parts["vae"],
        text_encoders=tuple(found.parts[f"text_encoder{end}"] for end in ends),
        tokenizers=tuple(found.parts[f"tokenizer{end}"] for end in ends),
        scheduler=found.parts["scheduler"],
        schedule=family.schedule(found.parts["scheduler"], TOKENS),
        options=found.options,
    )
    refuse_misfits(folder.resolve().name, parts)


def _family(folder: Path, pipeline: str) -> Family:
    """The family of a folder, by its pipeline's class, else by the class of its denoiser.

    Raises `BadInput` for a transformer of a class, or a pipeline around one, that is not known.
    """
    if (found := family_of_class(pipeline)) is not None:
        if found.folder == "transformer" and (folder / "unet").is_dir() and not (folder / found.folder).is_dir():
            raise BadInput(
                f"{folder / INDEX} says {pipeline}, which has a transformer denoiser, and the folder has a unet in its "
                f"place; {EXPORT_AGAIN}"
            )
        return found
    place = next((path for path in (folder / "transformer", folder) if (path / "config.json").exists()), None)
    config = {} if place is None else Fields.read(place / "config.json", constants=True).values
    said = str(config.get("_class_name", "")) if config else ""
    family = family_of_class(said, config)
    if family is not None and family.folder == "transformer" and pipeline:
        raise BadInput(
            f"{folder} is of {shown(pipeline)}, which takes more than text, or another network; give a model of {NAMES}"
        )
    if family is None and (folder / "transformer").is_dir():
        what = "a denoiser of no class" if said in ("", "None") else f"a {shown(said)} as denoiser"
        raise BadInput(f"{folder} holds {what}, which is not supported; give a model of {NAMES}")
    return family or FAMILIES[0]


def _component(part: str, family: Family) -> str:
    """The name in `model_index.json` of a part."""
    return {"denoiser": family.folder, "autoencoder": "vae"}.get(part, part)


def _declared_absent(folder: Path, index: Mapping[str, Any], name: str) -> bool:
    """Whether the index says that the pipeline has no such component, whatever lies in its folder."""
    declared = index.get(name, ["", ""])
    if not _is_component(declared):
        raise BadInput(
            f"{folder / INDEX} has {name} {shown(declared)}, where a library and a class are due; {EXPORT_AGAIN}"
        )
    return declared[0] is None


def _is_component(value: Any) -> bool:
    """Whether an entry of the index is a pair of a library and a class, which may be null."""
    return isinstance(value, list) and len(value) == 2 and all(it is None or isinstance(it, str) for it in value)


def _passed_over(folder: Path, index: Mapping[str, Any], read: set[str]) -> list[str]:
    """Notes on components and files that are there and are not used."""
    notes = [
        f"{folder} also has {name} ({value[1]}), which is not used"
        for name, value in index.items()
        if _is_component(value) and value[0] is not None and name not in {*read, *_WITHOUT_EFFECT} and name[:1] != "_"
    ]
    for path in sorted(folder.iterdir()):
        if path.is_dir() and "ema" in path.name.lower().split("_") and (path / "config.json").is_file():
            notes.append(f"{folder} also holds {path.name}, averaged weights, which are not used; give {path} for them")
        elif path.is_file() and path.suffix == ".safetensors" and "lora" in path.name.lower():
            notes.append(f"{folder} also holds the LoRA {path.name}, which is not used; give {path} as the LoRA for it")
    return notes


def _contradicted(folder: Path, index: Mapping[str, Any], found: _Found) -> list[str]:
    """Notes on what the index says of components and the folder does not bear out."""
    named = {name: value[1] for name, value in index.items() if _is_component(value) and value[0] is not None}
    family = found.family
    notes = [
        f"{folder / INDEX} names {name} as {named[name]}; what lies in {name} is {kind}, and is used as such"
        for name, kind in ((family.folder, family.denoiser), ("vae", family.autoencoder))
        if name in found.parts and named.get(name) not in (None, kind)
    ]
    if family.folder not in found.parts:
        return notes
    optional = [end for end, slot in zip(_ends(family), family.texts, strict=True) if slot.optional]
    seconds = [f"{name}{end}" for end in optional for name in ("text_encoder", "tokenizer")]
    absent = [name for name in seconds if name in named and name not in {*found.parts, *_missing(found)}]
    if absent:
        notes.append(
            f"{folder / INDEX} names {' and '.join(absent)}, which {folder} lacks and its {family.folder} does not need"
        )
    return notes


def _of_training(name: str) -> bool:
    """Whether a file is the state of a training rather than weights."""
    return name.startswith(("optimizer", "scheduler", "scaler", "random_states", "rng_state", "training_args"))


def _nothing_in(folder: Path) -> BadInput:
    """The error for a folder without a component, with what it holds in their place."""
    files = sorted(path.name for path in folder.iterdir() if path.is_file())
    inner = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    if snapshots := sorted((folder / "snapshots").glob("*/")):
        return BadInput(f"{folder} is the root of a hub's cache; give the model in it, the folder {snapshots[-1]}")
    if cached := [path for path in inner if path.name.startswith("models--") and (path / "snapshots").is_dir()]:
        return BadInput(f"{folder} is a hub's cache; give the model in it, a folder in {cached[-1] / 'snapshots'}")
    if single := [name for name in files if name.endswith(".safetensors")]:
        more = f" (or one of {len(single) - 1} more beside it)" if len(single) > 1 else ""
        return BadInput(f"{folder} is no diffusers folder; give the file {folder / single[0]} itself{more}")
    for path in reversed(inner):
        if any((path / name).exists() for name in (INDEX, "unet", "transformer", "config.json")) or any(
            path.glob("*.safetensors")
        ):
            return BadInput(f"{folder} holds no model itself; give one in it, such as {path}")
    if pickles := sorted((n for n in files if Path(n).suffix in PICKLE_SUFFIXES), key=_of_training):
        return BadInput(f"{folder} holds only pickled weights ({pickles[0]}), which are never opened; {SAFE_EXPORT}")
    return BadInput(f"{folder} holds no model (no {INDEX}, no unet/); give a diffusers folder")
