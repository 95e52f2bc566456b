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
from intaglio.models.weights_file import PICKLE_SUFFIXES, opened

SAFE_EXPORT = "convert it with diffusers' save_pretrained(safe_serialization=True) on a machine you can afford to lose"
COPY_AGAIN = "copy the folder again, or export it again"
_NAME = re.compile(
    r"(?P<base>[^.]+?)(?:\.(?P<variant>[^.]+?))?(?:-(?P<number>\d{5})-of-(?P<count>\d{5}))?"
    r"(?:\.(?P<late>[^.]+))?\.safetensors"
)
_USUAL = ("diffusion_pytorch_model", "model")
_SECOND_CHOICE = ("", "fp16")
_ROW = 64
_COUNTED = re.compile(r"position_ids$").search
"""Keys of tables that follow from the settings, and that only some files hold."""


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
        base, variant = (found["base"], found["variant"] or found["late"] or "") if found else (path.stem, "")
        grouped.setdefault((base, variant), []).append(path)
    if not grouped:
        raise _no_weights(folder)
    sets = [_whole_set(folder, base, variant, files) for (base, variant), files in grouped.items()]
    chosen, *others = sorted(sets, key=_preference)
    notes = [note for other in others if (note := _about(folder, other, chosen))]
    if chosen.variant == "non_ema":
        notes.append(f"{folder} holds only {chosen.name}, the weights without their exponential mean, which are used")
    return chosen, notes


def _preference(found: WeightSet) -> tuple:
    rank = _SECOND_CHOICE.index(found.variant) if found.variant in _SECOND_CHOICE else len(_SECOND_CHOICE)
    return (found.base not in _USUAL, rank, found.variant == "non_ema", found.variant, found.base)


def _no_weights(folder: Path) -> BadInput:
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLE_SUFFIXES)
    if pickles:
        return BadInput(f"{folder} holds only pickled weights ({pickles[0]}), which are never opened; {SAFE_EXPORT}")
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
    if _same(other, chosen):
        return ""
    return f"{folder} also holds {other.name}, with other weights than {chosen.name}, which is the one that is used"


def _same(one: WeightSet, two: WeightSet) -> bool:
    """Whether two sets have the same weights up to rounding, by the first numbers of every tensor."""
    shapes, others = ({key: it for key, it in found.shapes.items() if not _COUNTED(key)} for found in (one, two))
    if shapes != others:
        return False
    with one.reading() as mine, two.reading() as theirs:
        return all(
            _close(_first_numbers(mine(key), key, shape), _first_numbers(theirs(key), key, shape))
            for key, shape in shapes.items()
        )


def _first_numbers(file: Any, key: str, shape: tuple[int, ...]) -> Tensor:
    if not shape:
        return file.get_tensor(key)
    return file.get_slice(key)[:1].flatten()[:_ROW]


def _close(one: Tensor, two: Tensor) -> bool:
    coarse = max(torch.finfo(it.dtype).eps if it.is_floating_point() else 0.0 for it in (one, two))
    return torch.allclose(one.double(), two.double(), rtol=coarse, atol=1e-7, equal_nan=True)
