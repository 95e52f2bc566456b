"""Recognition of single-file checkpoints by their keys' names and shapes, and the key of each weight."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from intaglio.errors import BadInput
from intaglio.models.diffusion.families.known import FILE_NAMES
from intaglio.models.diffusion.single_file_configs import FAMILIES, WIDTHS, TextEncoder
from intaglio.models.ldm_names import UNetLayout, autoencoder_name, open_clip_name

Shapes = Mapping[str, tuple[int, ...]]

_UNET, _AUTOENCODER = "model.diffusion_model.", "first_stage_model."
FIRST_LAYERS = frozenset({f"{_UNET}input_blocks.0.0.weight", "input_blocks.0.0.weight", "conv_in.weight"})
"""Keys of which a file with a whole denoiser has one."""
_OTHER_CHANNELS = {9: "an inpainting model", 8: "an image-editing model (InstructPix2Pix)", 5: "a depth-to-image model"}
_OTHERS = (
    ("model_ema.", "a checkpoint with only an exponential mean of its denoiser (model_ema)"),
    ("double_blocks.", "a Flux model, whose denoiser is a transformer"),
    ("joint_blocks.", "a Stable Diffusion 3 model, whose denoiser is a transformer"),
    ("control_model.", "a ControlNet"),
    ("zero_convs.", "a ControlNet"),
    ("controlnet_", "a ControlNet"),
    ("motion_modules.", "an AnimateDiff motion module"),
    ("lora_", "a LoRA; give it as the LoRA of a base"),
    (".lora.", "a LoRA; give it as the LoRA of a base"),
)
_UNUSED_BY_NATURE = re.compile(  # what text encoders and autoencoders carry along without using it here
    r"position_ids$|logit_scale$|attn_mask$|text_projection(\.weight)?$|\.resblocks\.23\.|^first_stage_model\.loss\."
)


@dataclass(frozen=True)
class Layout:
    """Layout of a file. `family` is a key of `FAMILIES`, or None for a lone denoiser of unusual width."""

    family: str | None
    width: int | None  # of the text embeddings that the denoiser takes
    denoiser: str  # prefix of its keys
    original: bool  # the denoiser in the original block numbering, else in diffusers' naming


class Source(NamedTuple):
    """Source of a weight: a key of the file, and the changes to its tensor."""

    key: str
    third: int | None = None  # 0, 1, 2: the query's, key's or value's rows of a joint matrix
    transposed: bool = False

    def shape(self, shapes: Shapes, like: tuple[int, ...]) -> tuple[int, ...] | None:
        """The shape after the changes; None if the file lacks the key. 1x1 convolutions may serve as matrices."""
        if self.key not in shapes:
            return None
        shape = shapes[self.key]
        if self.third is not None:
            shape = (shape[0] // 3, *shape[1:])
        if len(shape) == 4 and len(like) == 2 and shape[2:] == (1, 1):
            shape = shape[:2]
        return shape[::-1] if self.transposed else shape


def recognised(shapes: Shapes, name: str) -> Layout:
    """The layout of a file with these keys. Raises `BadInput`, naming file and kind, for all that is not supported."""
    for start, original in ((_UNET, True), ("", True), ("", False)):
        first = f"{start}{'input_blocks.0.0' if original else 'conv_in'}.weight"
        if first in shapes and any(key.startswith((f"{start}time_embed", f"{start}time_embedding")) for key in shapes):
            break
    else:
        raise BadInput(f"{name} is {_what(shapes)}; give a file of {FILE_NAMES}.")
    if any("control_model." in key or "controlnet_" in key for key in shapes):
        raise BadInput(f"{name} is a ControlNet; give a plain text-to-image checkpoint.")
    if other := _OTHER_CHANNELS.get(shapes[first][1]):
        raise BadInput(f"{name} is {other} ({shapes[first][1]} channels in); give a plain text-to-image checkpoint.")
    width = next((shape[1] for key, shape in shapes.items() if key.endswith("attn2.to_k.weight")), None)
    family = _family(shapes) or WIDTHS.get(width or 0)
    if width == 1280 or _only_refiner(shapes):
        raise BadInput(f"{name} is the refiner of Stable Diffusion XL, which only finishes pictures; give the base.")
    if family == "sd2" and any("label_emb." in key for key in shapes):
        raise BadInput(f"{name} is an unCLIP model, which wants a picture's embedding; give a text-to-image model.")
    return Layout(family, width, start, original)


def _what(shapes: Shapes) -> str:
    for mark, what in _OTHERS:
        if any(mark in key for key in shapes):
            return what
    if any(key.startswith((_AUTOENCODER, "encoder.conv_in", "decoder.conv_in")) for key in shapes):
        return "an autoencoder, or a checkpoint without its denoiser"
    return f"no checkpoint that is known here (its first key is {min(shapes, default='missing')!r})"


def _family(shapes: Shapes) -> str | None:
    """By the second text encoder first: a family is taken only if all its text encoders are there."""
    for family in ("sdxl", "sd2", "sd1"):
        if all(any(key.startswith(text.prefix) for key in shapes) for text in FAMILIES[family].texts):
            return family
    return None


def _only_refiner(shapes: Shapes) -> bool:
    heads = {key.split(".")[2] for key in shapes if key.startswith("conditioner.embedders.")}
    return any(key.startswith("conditioner.embedders.0.model.") for key in shapes) and "1" not in heads


def prefix_of(layout: Layout, part: str, shapes: Shapes) -> str:
    """Prefix of a part's keys, whether or not the file has any."""
    if part == "denoiser":
        return layout.denoiser
    if part == "autoencoder":
        return _AUTOENCODER
    prefix = _text(layout, part).prefix
    wrapped = f"{prefix}text_model."
    return wrapped if any(key.startswith(wrapped) for key in shapes) else prefix


def _text(layout: Layout, part: str) -> TextEncoder:
    family = layout.family or ("sdxl" if part == "text_encoder_2" else "sd1")
    return FAMILIES[family].texts[part == "text_encoder_2"]


def sources(layout: Layout, part: str, names: Iterable[str], shapes: Shapes) -> dict[str, Source]:
    """Source of each parameter of a diffusers module; the file need not have the key."""
    names, prefix = list(names), prefix_of(layout, part, shapes)
    if part == "denoiser":
        blocks = UNetLayout.of(names)
        return {name: Source(prefix + (blocks.original(name) if layout.original else name)) for name in names}
    if part == "autoencoder":
        levels = len({name.split(".")[2] for name in names if name.startswith("decoder.up_blocks.")})
        return {name: Source(prefix + autoencoder_name(name, levels)) for name in names}
    if _text(layout, part).open_clip:
        return {name: _open_clip(prefix, name.removeprefix("text_model.")) for name in names}
    return {name: Source(prefix + name.removeprefix("text_model.")) for name in names}


def _open_clip(prefix: str, name: str) -> Source:
    joint = re.search(r"\.self_attn\.([qkv])_proj\.", name)
    third = "qkv".index(joint.group(1)) if joint else None
    return Source(prefix + open_clip_name(name), third, transposed=name == "text_projection.weight")


def problems(found: Mapping[str, Source], wanted: Shapes, shapes: Shapes) -> list[str]:
    """`"key: why"` for every weight that the file lacks or holds in another shape."""
    said = []
    for name, source in found.items():
        shape = source.shape(shapes, wanted[name])
        if shape is None:
            said.append(f"{source.key}: missing")
        elif shape != wanted[name]:
            said.append(f"{source.key}: shape {shape} instead of {wanted[name]}")
    return said


def unused_keys(layout: Layout, part: str, found: Mapping[str, Source], shapes: Shapes) -> list[str]:
    """Unused keys of a part, but for those that other software is known to leave in files."""
    used, prefix = {source.key for source in found.values()}, prefix_of(layout, part, shapes)
    lone = part == "denoiser" and not prefix
    return [
        key
        for key in shapes
        if key.startswith(prefix) and key not in used and (lone or not _UNUSED_BY_NATURE.search(key))
    ]
