"""Loading of single files with a transformer denoiser: its weights under their published names, and often nothing else.

Eight-bit floats with a scale each are multiplied out; without the scales such weights would draw white pictures.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from intaglio.errors import BadInput
from intaglio.models.diffusion.baked_sampling import FREE
from intaglio.models.diffusion.components import suffix
from intaglio.models.diffusion.denoiser_settings import UNUSED_OF_DENOISERS, check_settings, left_over
from intaglio.models.diffusion.eight_bit_weights import is_narrow, multiplied, note_of, scale_keys
from intaglio.models.diffusion.families.family import Family
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.skeletons import filled, shapes_of, skeleton
from intaglio.models.diffusion.support import refuse_misfits
from intaglio.models.diffusion.transformer_file_marks import WITHOUT_EFFECT, Shapes, transformer_kind
from intaglio.models.ldm_names import autoencoder_name
from intaglio.models.original_names import PublishedPlace
from intaglio.models.weights_file import checked, opened

Like = LatentDiffusion | Path | str | None
_NAMES_OF_CLIP = ("clip_l", "clip_g")
_NAMES_OF_TEXT = {
    "T5EncoderModel": ("t5xxl",),
    "Qwen3Model": ("qwen3_4b",),
    "Qwen3ForCausalLM": ("qwen3_4b", "qwen3_8b"),
    "UMT5EncoderModel": ("pile_t5xl",),
    "Gemma2Model": ("gemma2_2b",),
    "Qwen2_5_VLForConditionalGeneration": ("qwen25_7b",),
}
_AUTOENCODERS = ("first_stage_model.", "vae.")
OTHER_PARTS = (*_AUTOENCODERS, "text_encoders.", "cond_stage_model.", "conditioner.", "model_ema.", "model.")
"""Beginnings of keys that are no denoiser's."""
_OF_LATENT_DIFFUSION = ("AutoencoderKL", "AutoencoderKLFlux2")
"""Autoencoders whose published weights have the names of latent diffusion's code."""
_TIED = {"encoder.embed_tokens.weight": "shared.weight", "lm_head.weight": "model.embed_tokens.weight"}


def is_transformer_file(path: Path) -> bool:
    """Whether a `.safetensors` file holds a transformer denoiser; raises as `transformer_kind`."""
    with opened(path) as file:
        return transformer_kind(dict.fromkeys(file.keys(), ()), path) is not None


def load_transformer_file(
    path: Path, like: Like, read_folder: Callable[[Path], LatentDiffusion], dtype: torch.dtype = torch.float32
) -> LatentDiffusion:
    """The model of a file; the parts that the file lacks, and tokenizers, are those of `like`, of the same family.

    `dtype` is the precision that the file's denoiser is read in.
    Raises `BadInput` for a file without `like`, one of another family, and weights that are missing, not finite, or of
    shapes that no denoiser of the family has.
    """
    with opened(path) as file:
        shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
        found = transformer_kind(shapes, path)
        if found is None:
            raise BadInput(f"{path} holds no transformer denoiser; give a diffusers folder")
        family, prefix = found
        donor = _donor(path, family, like, read_folder)
        reader = _Reader(path, file, shapes)
        plan = _planned(reader, family, prefix, donor)
        _check_fit(path, plan.network, donor)
        parts, notes = _others(reader, family, donor)
        denoiser = filled(plan.network, plan.weight_of, dtype)
    return LatentDiffusion(
        denoiser=denoiser,
        autoencoder=parts["autoencoder"],
        text_encoders=[parts[f"text_encoder{suffix(place)}"] for place in range(len(donor.text_encoders))],
        tokenizers=donor.tokenizers,
        scheduler=donor.scheduler,
        name=path.stem,
        source=path,
        options=donor.options,
        notes=[*notes, *reader.notes],
        unused=[f"{path}: {key}" for key in reader.unused],
    )


def _check_fit(path: Path, network: nn.Module, donor: LatentDiffusion) -> None:
    """Raises `BadInput`, before weights are read, for a denoiser that does not fit the donor's parts, or its guidance.

    The file's own parts have the donor's settings too.
    """
    fitted = replace(donor.components, denoiser=network, sampling=FREE)
    refuse_misfits(path.stem, fitted)
    if fitted.settled().sampling != donor.sampling:
        raise BadInput(
            f"{path} takes the guidance scale otherwise than {donor.name} does (one is distilled further); "
            "give a folder of its own kind"
        )


def _donor(path: Path, family: Family, like: Like, read_folder: Callable[[Path], LatentDiffusion]) -> LatentDiffusion:
    if like is None:
        raise BadInput(
            f"{path} holds the transformer alone, or no tokenizers; name a {family.name} folder with --like for its "
            "text encoders and autoencoder"
        )
    donor = like if isinstance(like, LatentDiffusion) else read_folder(Path(like))
    if donor.family is not family:
        raise BadInput(
            f"{path} is of {family.name}, and {donor.name} is of {donor.family.name}; give a folder of its own"
        )
    return donor


class _Reader:
    """The tensors of a file, each by its key and with its scale; keys that were never asked for are left over."""

    def __init__(self, path: Path, file: Any, shapes: Shapes):
        self.path, self._file, self.shapes, self._left = path, file, shapes, set(shapes)
        narrow = {key for key in shapes if is_narrow(file.get_slice(key).get_dtype())}
        self._scales, self._narrow, self._scaled = scale_keys(path, shapes, narrow), 0, 0

    @property
    def unused(self) -> list[str]:
        """Keys of no weight of the model, in order."""
        return sorted(key for key in self._left if not WITHOUT_EFFECT.search(key))

    def denoisers_left(self, prefix: str, taken: set[str]) -> list[str]:
        """Keys of the denoiser's beginning that belong to no weight of it, in order."""
        known = {*taken, *self._scales.values()}
        passed = [WITHOUT_EFFECT.search, UNUSED_OF_DENOISERS.search]
        return sorted(
            key
            for key in self.shapes
            if key.startswith(prefix)
            and key not in known
            and not any(test(key) for test in passed)
            and (prefix or not key.startswith(OTHER_PARTS))
        )

    @property
    def notes(self) -> list[str]:
        """Notes on the precision of what was read, and on what was not."""
        left = self.unused
        unread = [f"{len(left)} weights in {self.path} are not used ({left[0]})"] if left else []
        return [*note_of(self.path, self._narrow, self._scaled), *unread]

    def tensor(self, key: str) -> Tensor:
        """A whole tensor, times its scale where it has one. Raises `BadInput` for numbers that are not finite."""
        self._left.discard(key)
        tensor = checked(self._file.get_tensor(key), self.path, key)
        if tensor.dtype.itemsize > 1:
            return tensor
        self._narrow += 1
        if (scale := self._scales.get(key)) is None:
            return tensor.float()
        self._scaled += 1
        self._left.discard(scale)
        return multiplied(tensor, checked(self._file.get_tensor(scale), self.path, scale))


class _Plan(NamedTuple):
    """A network in the sizes that a file's shapes say, and what gives its weights."""

    network: nn.Module
    weight_of: Callable[[str], Tensor]


def _planned(reader: _Reader, family: Family, prefix: str, donor: LatentDiffusion) -> _Plan:
    """The denoiser; no weight of it is read yet."""
    own = {key.removeprefix(prefix): shape for key, shape in reader.shapes.items() if key.startswith(prefix)}
    config = family.config_of_file(own, donor.denoiser.config)
    check_settings(family.denoiser, reader.path, config)
    module = skeleton(family.denoiser, config)
    wanted = shapes_of(module)
    if family.original_names is None:
        raise BadInput(f"{reader.path} is of {family.name}, whose single files are not read; give a diffusers folder")
    places = family.original_names.places(wanted)
    _check(reader.path, family, wanted, places, own)
    taken = {prefix + place.name for place in places.values()}
    if unread := reader.denoisers_left(prefix, taken):
        raise left_over(str(reader.path), unread)
    first = _first_rows(wanted, places)

    def weight_of(name: str) -> Tensor:
        place = places[name]
        whole = reader.tensor(prefix + place.name)
        rows = whole if place.place is None else whole[first[name] : first[name] + wanted[name][0]].clone()
        return (torch.cat(rows.chunk(2)[::-1]) if place.swapped else rows).reshape(wanted[name])

    return _Plan(module, weight_of)


def _first_rows(wanted: Shapes, places: Mapping[str, PublishedPlace]) -> dict[str, int]:
    """The first row of each weight in the published one that holds it."""
    first, ends = dict[str, int](), dict[str, int]()
    for name, place in sorted(places.items(), key=lambda entry: entry[1].place or 0):
        first[name] = ends.get(place.name, 0)
        ends[place.name] = first[name] + (wanted[name][0] if wanted[name] else 0)
    return first


def _check(path: Path, family: Family, wanted: Shapes, places: Mapping[str, PublishedPlace], own: Shapes) -> None:
    """Raises `BadInput` where weights are missing, or of other shapes."""
    rows = dict[str, int]()
    for name, place in places.items():
        rows[place.name] = rows.get(place.name, 0) + (wanted[name][0] if wanted[name] else 0)
    faults = [f"{name} has no published name" for name in wanted if name not in places]
    for published, name in {place.name: name for name, place in places.items()}.items():
        if (shape := own.get(published)) is None:
            faults.append(f"{published} is missing")
        elif shape[:1] != (rows[published],) or shape[1:] != wanted[name][1:]:
            faults.append(f"{published} has shape {shape}, where {(rows[published], *wanted[name][1:])} is due")
    if faults:
        raise BadInput(
            f"{path} does not fit {family.name}: {len(faults)} weights of its denoiser are wrong (first: "
            f"{'; '.join(faults[:3])}); export it again, or give a folder of its own size with --like"
        )


def _others(reader: _Reader, family: Family, donor: LatentDiffusion) -> tuple[dict[str, nn.Module], list[str]]:
    """Text encoders and autoencoder: the file's own, or else copies of the donor's, with a note that lists these."""
    parts, borrowed = dict[str, nn.Module](), list[str]()
    for part, given in donor.parts.items():
        if part == "denoiser":
            continue
        keys = _keys_of(part, given, family, reader.shapes)
        if keys is None:
            parts[part] = given if part == "autoencoder" else copy.deepcopy(given)
            borrowed.append(part)
        else:
            parts[part] = _filled_as(part, given, keys, family, reader)
    notes = [f"{', '.join(borrowed)} taken from {donor.name}, as the file has none"] if borrowed else []
    return parts, notes


def _filled_as(part: str, given: Any, keys: Mapping[str, str], family: Family, reader: _Reader) -> nn.Module:
    """A network of the donor's settings with the file's weights."""
    module = skeleton(family.network(part), given.config)
    wanted = shapes_of(module)
    for name, key in keys.items():
        if (shape := reader.shapes.get(key)) not in (wanted[name], (*wanted[name], 1, 1)):
            held = f"lacks {key}" if shape is None else f"holds {key} in shape {shape}"
            raise BadInput(
                f"{reader.path} {held}, where the {part} of its base has {wanted[name]}; give a folder of its own kind "
                "with --like"
            )
    return filled(module, lambda name: reader.tensor(keys[name]).reshape(wanted[name]), torch.float32)


def _keys_of(part: str, given: nn.Module, family: Family, shapes: Shapes) -> dict[str, str] | None:
    """The file's key of each weight of a part; None where the file has none of the part."""
    if part == "autoencoder":
        known = _AUTOENCODERS if family.autoencoder in _OF_LATENT_DIFFUSION else ()
        prefix = next((one for one in known if any(key.startswith(one) for key in shapes)), None)
        levels = len({name.split(".")[2] for name in given.state_dict() if name.startswith("decoder.up_blocks.")})
        named = {name: autoencoder_name(name, levels) for name in given.state_dict()}
    else:
        prefixes = [f"text_encoders.{name}.transformer." for name in _text_names(part, family)]
        prefix = next((one for one in prefixes if any(key.startswith(one) for key in shapes)), None)
        named = {name: _text_key(name, prefix or "", shapes) for name in given.state_dict()}
    return None if prefix is None else {name: prefix + key for name, key in named.items()}


def _text_names(part: str, family: Family) -> tuple[str, ...]:
    """The names that a text encoder may have in files: by its kind, and of two of CLIP by its place."""
    place = int(part.removeprefix("text_encoder").removeprefix("_") or 1) - 1
    network = family.texts[place].network
    return _NAMES_OF_TEXT.get(network) or (_NAMES_OF_CLIP[place],)


def _text_key(name: str, prefix: str, shapes: Shapes) -> str:
    """A text encoder's weight as the file spells it: with `text_model.` or without, and tied embeddings once."""
    bare = name.removeprefix("text_model.")
    spellings = (name, bare, f"text_model.{bare}", f"model.{name}", _TIED.get(name, name))
    return next((one for one in spellings if prefix + one in shapes), name)
