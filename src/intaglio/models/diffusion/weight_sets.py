"""Weights of one component's folder: which of its files are read, and what is said of the others."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from intaglio.data_files import Fields
from intaglio.errors import BadInput
from intaglio.models.foreign_keys import adapter_in
from intaglio.models.weights_file import GGUF_SUFFIX, PICKLE_SUFFIXES, opened, refuse_gguf

SAFE_EXPORT = "convert it with diffusers' save_pretrained(safe_serialization=True) on a machine you can afford to lose"
COPY_AGAIN = "copy the folder again, or export it again"
_NAME = re.compile(
    r"(?P<base>[^.]+?)(?:\.(?P<variant>[^.]+?))?(?:-(?P<number>\d{5})-of-(?P<count>\d{5}))?"
    r"(?:\.(?P<old_variant>[^.]+))?\.safetensors"
)
"""`base.safetensors`, `base.fp16.safetensors`, and of shards `base.fp16-00001-of-00002.safetensors` as diffusers writes
it, or `base-00001-of-00002.fp16.safetensors` as it wrote it earlier."""
_LIBRARY_BASES = ("diffusion_pytorch_model", "model")
"""Base names of the files that diffusers and transformers read."""
_VARIANTS_IN_ORDER = ("", "fp16")
"""Variants that are read before any other, the first before the second."""
_is_position_table = re.compile(r"position_ids$").search
"""Whether a key is a table 0, 1, 2, ..., which follows from the settings, so that only some files hold it."""
_ROWS_COMPARED = 64
"""Rows of a large tensor by which two sets of weights are compared."""
_SMALL = 2**16
"""Numbers up to which a tensor is compared whole."""


@dataclass(frozen=True)
class WeightSet:
    """One set of weights: a file, or the shards of one."""

    base: str
    variant: str
    """`fp16`, `non_ema` and the like; empty for plain weights."""
    files: tuple[Path, ...]
    places: dict[str, Path]
    """The file of each key."""
    shapes: dict[str, tuple[int, ...]]

    @property
    def name(self) -> str:
        """Name of the first file."""
        return self.files[0].name

    @contextmanager
    def reading(self) -> Iterator[Callable[[str], Any]]:
        """A function from a key to its file, which is open for reading tensors one by one."""
        with ExitStack() as stack:
            files = {path: stack.enter_context(opened(path)) for path in self.files}
            yield lambda key: files[self.places[key]]


def weight_sets(folder: Path) -> tuple[WeightSet, list[str]]:
    """The set of weights that is read from a folder, and notes on those that are not.

    Plain weights come first, `fp16` next. Raises `BadInput` where there is no safetensors file, or a shard is missing;
    every file is opened once.
    """
    grouped: dict[tuple[str, str], list[Path]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found = _NAME.fullmatch(path.name)
        base, variant = (found["base"], found["variant"] or found["old_variant"] or "") if found else (path.stem, "")
        grouped.setdefault((base, variant), []).append(path)
    if not grouped:
        raise _no_weights(folder)
    sets = [_whole_set(folder, base, variant, files) for (base, variant), files in grouped.items()]
    chosen, *others = sorted(sets, key=_rank)
    notes = [note for other in others if (note := _about(folder, other, chosen))]
    if chosen.variant == "non_ema":
        notes.append(f"{folder} holds only {chosen.name}, the non-EMA weights, which are used")
    return chosen, notes


def _rank(found: WeightSet) -> tuple:
    """Sorts sets by which is read first: those of the library's names, then by variant, non-EMA weights last."""
    order = _VARIANTS_IN_ORDER
    variant = order.index(found.variant) if found.variant in order else len(order)
    return (found.base not in _LIBRARY_BASES, variant, found.variant == "non_ema", found.variant, found.base)


def _no_weights(folder: Path) -> BadInput:
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLE_SUFFIXES)
    if pickles:
        return BadInput(f"{folder} holds only pickled weights ({pickles[0]}), which are never opened; {SAFE_EXPORT}")
    for path in sorted(folder.glob(f"*{GGUF_SUFFIX}")):
        refuse_gguf(path)
    return BadInput(f"{folder} holds no .safetensors weights; {COPY_AGAIN}")


def _whole_set(folder: Path, base: str, variant: str, files: Sequence[Path]) -> WeightSet:
    _refuse_missing_shards(folder, base, variant, files)
    places: dict[str, Path] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for path in files:
        with opened(path) as file:
            for key in file.keys():  # noqa: SIM118 (not a mapping)
                if key in places:
                    raise BadInput(f"{path} and {places[key].name} both hold {key}; {COPY_AGAIN}")
                places[key], shapes[key] = path, tuple(file.get_slice(key).get_shape())
    return WeightSet(base, variant, tuple(files), places, shapes)


def _refuse_missing_shards(folder: Path, base: str, variant: str, files: Sequence[Path]) -> None:
    there = {path.name for path in files}
    indices = (f"{base}.safetensors.index.json", f"{base}.safetensors.index.{variant}.json")
    index = folder / (indices[1] if variant else indices[0])
    if index.is_file() and len(files) > 1:
        named = set(map(str, Fields.read(index).table("weight_map").values.values()))
        if missing := sorted(named - there):
            raise BadInput(f"{folder} lacks {missing[0]}, which {index.name} names; {COPY_AGAIN}")
    counts = {int(found["count"]) for name in there if (found := _NAME.fullmatch(name)) and found["count"]}
    if counts and (len(counts) > 1 or counts != {len(files)}):
        wanted = ", ".join(map(str, sorted(counts)))
        raise BadInput(f"{folder} holds {len(files)} of the {wanted} parts of {base}.safetensors; {COPY_AGAIN}")


def _about(folder: Path, other: WeightSet, chosen: WeightSet) -> str:
    """A note on a set of weights that is not read; empty where it holds the same in another precision."""
    if what := adapter_in(other.places):
        return f"{folder} also holds {other.name}, {what}, which is not used; give it as the LoRA if it is one"
    if _same_up_to_rounding(other, chosen):
        return ""
    return f"{folder} also holds {other.name}, with other weights than {chosen.name}, which is the one that is used"


def _same_up_to_rounding(one: WeightSet, two: WeightSet) -> bool:
    """Whether two sets have the same weights, each in its own precision.

    All tensors are compared but tables of positions, large ones by some of their rows; see `_spread_rows`.
    """
    shapes, others = (
        {key: shape for key, shape in found.shapes.items() if not _is_position_table(key)} for found in (one, two)
    )
    if shapes != others:
        return False
    with one.reading() as mine, two.reading() as theirs:
        return all(
            _close(_spread_rows(mine(key).get_tensor(key)), _spread_rows(theirs(key).get_tensor(key))) for key in shapes
        )


def _spread_rows(tensor: Tensor) -> Tensor:
    """A small tensor itself; of a large one some 64 whole rows from the first to the last, at even distances.

    Only these are read from the file, so that comparing takes far less time than reading the model.
    """
    if tensor.ndim == 0 or tensor.numel() <= _SMALL:
        return tensor
    return tensor[torch.linspace(0, len(tensor) - 1, min(_ROWS_COMPARED, len(tensor))).long()]


def _close(one: Tensor, two: Tensor) -> bool:
    """Whether two tensors agree within one rounding to the coarser of their precisions."""
    rounding = max(torch.finfo(it.dtype).eps if it.is_floating_point() else 0.0 for it in (one, two))
    wide = torch.promote_types(torch.promote_types(_computed(one), _computed(two)), torch.float32)
    return torch.allclose(one.to(wide), two.to(wide), rtol=rounding, atol=1e-7, equal_nan=True)


def _computed(tensor: Tensor) -> torch.dtype:
    """The tensor's precision, or float32 for eight-bit floats, which are stored but not computed with."""
    return torch.float32 if tensor.is_floating_point() and tensor.dtype.itemsize == 1 else tensor.dtype
