"""Weights in eight-bit floats of single files: the key of each one's scale, and what the two make together."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.diffusion.transformer_file_marks import SCALES, WITHOUT_EFFECT, Shapes

REMEDY = "use the bf16 file of the same model"


def scale_keys(path: Path, shapes: Shapes, narrow: set[str]) -> Mapping[str, str]:
    """The key of the scale of each weight that has one, of `narrow`, the keys of one byte a number.

    Raises `BadInput`, before anything is read, for a scale under a name that is not known, and for one of another shape
    than one number, or one a row.
    """
    found = {key: one for key in narrow for end in SCALES if (one := key.removesuffix(".weight") + end) in shapes}
    bare = {name for key in narrow - found.keys() for name in (key, key.removesuffix(".weight"))}
    for key in shapes:
        owner, _, last = key.rpartition(".")
        if owner in bare and "scale" in last and key not in narrow and not WITHOUT_EFFECT.search(key):
            raise BadInput(f"{path} holds {key}, a scale of a kind that is not known; {REMEDY}")
    for key, scale in found.items():
        rows, given = shapes[key][:1] or (1,), shapes[scale]
        if given not in ((), (1,), (1, 1), rows, (*rows, 1)):
            raise BadInput(
                f"{path} holds {scale} in shape {given}, where one number or one for each of the {rows[0]} rows of "
                f"{key} is due; {REMEDY}"
            )
    return found


def multiplied(weight: Tensor, scale: Tensor) -> Tensor:
    """A weight times its scale, one number or one a row, in float32."""
    wide = scale.float().reshape(-1, *[1] * (weight.ndim - 1)) if weight.ndim else scale.float().reshape(())
    return weight.float() * wide


def note_of(path: Path, narrow: int, scaled: int) -> list[str]:
    """A note on weights in eight bits that were read, and on those without scales; none where there are none."""
    if not narrow:
        return []
    plain = f", {narrow - scaled} of them without scales" if scaled < narrow else ""
    return [f"{path} holds {narrow} weights in eight-bit floats{plain}, which are computed with in more bits"]


def is_narrow(kind: str) -> bool:
    """Whether a type, as safetensors names it, is an eight-bit float."""
    return kind.startswith("F8_")
