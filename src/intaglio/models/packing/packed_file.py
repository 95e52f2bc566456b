"""The file of a network with packed weights: a safetensors file whose header says how each weight is put together."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from intaglio.data_files import Fields, parse_json
from intaglio.errors import BadInput
from intaglio.models.packing.packed_weight import PackedWeight, shared_tensors
from intaglio.models.packing.term import SHARED
from intaglio.models.packing.term_tensors import DAMAGED
from intaglio.models.weights_file import opened
from intaglio.runs.plain_json import to_json

NAME = "intaglio_packed.safetensors"
"""Name of the file in a network's folder, in place of the libraries' weights."""
NOTE, FORMAT = "intaglio", 1


@dataclass(frozen=True)
class Packing:
    """The way the weights of one network were packed."""

    method: str
    """Name of the method, with dashes."""
    base: str
    """Sha256 over the weights and settings of the model that was shrunk."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the method, plain values."""
    bits: float = 32.0
    """Bits a weight, over those that are packed."""
    on: str | None = None
    """Sha256 over the weights and settings of the base that the weights are a change of; None where they are whole."""
    file: Path | None = field(default=None, compare=False)
    """Where it was read from; None for weights that were packed in memory."""

    @property
    def words(self) -> str:
        """Bits and method, in a few words."""
        return f"{self.bits:.2f} bits a weight by {self.method}"


def write_packed(
    path: Path, weights: Mapping[str, PackedWeight], others: Mapping[str, Tensor], packing: Packing
) -> None:
    """Writes packed weights, and the tensors of the network that are not packed, by their names in the network."""
    tensors = {f"{name}/{key}": tensor for name, one in weights.items() for key, tensor in one.tensors().items()}
    tensors |= shared_tensors(weights)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in others.items()}
    about = {"method": packing.method, "base": packing.base, "on": packing.on, "settings": dict(packing.settings)}
    facts = {name: one.facts() for name, one in weights.items()}
    whole = {**plain, **{name: t.contiguous() for name, t in tensors.items()}}
    note = to_json({"format": FORMAT, **about, "sha256": _digest(whole), "weights": facts})
    save_file(whole, path, metadata={NOTE: note})


@dataclass(frozen=True)
class PackedFile:
    """A file of packed weights, whose tensors are read one by one."""

    path: Path
    facts: Fields
    """The header's note."""
    shapes: dict[str, tuple[int, ...]]
    """Of every weight of the network, by its name in it, packed or not."""

    @classmethod
    def read(cls, path: Path) -> "PackedFile":
        """The file's header. Raises `BadInput` for another file, and for one of a later version of this software."""
        with opened(path, "packed weights") as file:
            note = (file.metadata() or {}).get(NOTE)
            plain = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys() if "/" not in key}  # noqa: SIM118
        if note is None:
            raise BadInput(f"{path} does not say how its weights are packed: {DAMAGED}")
        facts = Fields.of(parse_json(note, str(path), DAMAGED), str(path), DAMAGED)
        if (version := facts.whole("format", low=1)) > FORMAT:
            raise BadInput(f"{path} is packed in format {version}, and {FORMAT} is read here; use a later intaglio")
        packed = facts.table("weights").values
        shapes = {name: _shape(facts.table("weights").table(name)) for name in packed}
        if twice := set(shapes) & set(plain):
            raise BadInput(f"{path} holds {min(twice)} packed and plain: {DAMAGED}")
        return cls(path, facts, {**plain, **shapes})

    @property
    def places(self) -> dict[str, Path]:
        """The file of each weight."""
        return dict.fromkeys(self.shapes, self.path)

    @cached_property
    def packing(self) -> Packing:
        """The way it was packed; the bits a weight are counted from its tensors."""
        facts, sizes, numbers = self.facts, 0, 0
        with opened(self.path, "packed weights") as file:
            for key in file.keys():  # noqa: SIM118
                if "/" in key:
                    sizes += file.get_tensor(key).nbytes
        for name in facts.table("weights").values:
            numbers += int(torch.tensor(self.shapes[name]).prod())
        settings = facts.table("settings").values
        bits = 8 * sizes / max(1, numbers)
        return Packing(facts.text("method"), facts.text("base"), settings, bits, facts.text("on", None), self.path)

    def packed_weights(self) -> dict[str, PackedWeight]:
        """Every packed weight, by its name in the network. Raises `BadInput` for a damaged one."""
        with opened(self.path, "packed weights") as file:
            unpacking = _Unpacking(file, self.facts.table("weights"), {})
            return {name: unpacking.packed(name) for name in self.facts.table("weights").values}

    def check_whole(self) -> None:
        """Raises `BadInput` where the tensors are not those that were written, by their hash."""
        if (wanted := self.facts.text("sha256", None)) is None:
            return
        with opened(self.path, "packed weights") as file:
            found = _digest({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
        if found != wanted:
            raise BadInput(f"{self.path} does not hold the bytes that were written: {DAMAGED}")

    @contextmanager
    def reading(self, base: Mapping[str, Tensor] = MappingProxyType({})) -> Iterator[Callable[[str], "_Unpacking"]]:
        """A function from a weight's name to the open file, whose `get_tensor` gives it unpacked.

        `base` has the base's weights by name, where the packed ones are a change of them.
        """
        with opened(self.path, "packed weights") as file:
            unpacking = _Unpacking(file, self.facts.table("weights"), base)
            yield lambda name: unpacking


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Sha256 over names, types, shapes and bytes of tensors."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


class _Unpacking:
    """An open file that gives packed weights as dense ones; tensors that several of them hold are read once."""

    def __init__(self, file: Any, weights: Fields, base: Mapping[str, Tensor]):
        self._file, self._weights, self._base = file, weights, base
        self._keys: dict[str, list[str]] = {}
        for key in file.keys():  # noqa: SIM118
            self._keys.setdefault(key.partition("/")[0], []).append(key)

    @cached_property
    def _shared(self) -> dict[str, Tensor]:
        return {key: self._file.get_tensor(key) for key in self._keys.get(SHARED, ()) if key != SHARED}

    def get_tensor(self, name: str) -> Tensor:
        """The weight of this name, as it stands in the network."""
        if name not in self._weights.values:
            return self._file.get_tensor(name)
        return self.packed(name).unpack(self._base.get(name))

    def packed(self, name: str) -> PackedWeight:
        """The packed weight of this name."""
        tensors = {key.partition("/")[2]: self._file.get_tensor(key) for key in self._keys.get(name, ())}
        return PackedWeight.read(self._weights.table(name), self._shared | tensors)


def _shape(facts: Fields) -> tuple[int, ...]:
    return tuple(map(int, facts.numbers("shape")))
