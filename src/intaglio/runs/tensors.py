"""Tensors with a JSON note as safetensors, written atomically, never pickled."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from intaglio.data_files import parse_json
from intaglio.errors import BadInput, IntaglioError
from intaglio.files import atomic_path
from intaglio.runs.plain_json import to_json

NOTE = "intaglio"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes copies on the CPU; tensors that share memory are stored apart."""
    with atomic_path(path) as temporary:
        save_file(_apart(tensors), temporary, metadata=dict(metadata))


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    seen: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        memory = plain.untyped_storage()
        if memory.data_ptr() in seen or memory.nbytes() != plain.nbytes:
            plain = plain.clone()
        seen.add(plain.untyped_storage().data_ptr())
        apart[name] = plain
    return apart


def tensor_hash(tensor: Tensor) -> str:
    """SHA-256 of a tensor's type, shape and bytes; 64 hex digits."""
    given = tensor.detach().cpu().contiguous()
    about = f"{given.dtype} {list(given.shape)}\n".encode()
    return hashlib.sha256(about + given.flatten().view(torch.uint8).numpy().tobytes()).hexdigest()


def write_state(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """`write_tensors` with plain values beside the tensors."""
    write_tensors(path, tensors, {NOTE: to_json(meta)})


def read_state(path: Path) -> "tuple[StateValues, StateValues] | None":
    """Tensors on the CPU and plain values that `write_state` wrote; None where there is no such file."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            meta = parse_json((file.metadata() or {})[NOTE], str(path), constants=True)
            tensors = {name: torch.clone(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, OSError, BadInput) as error:
        raise damaged(path) from error
    if not isinstance(meta, dict):
        raise damaged(path)
    return StateValues(path, tensors), StateValues(path, meta)


class StateValues(dict[str, Any]):
    """The tensors or plain values of a state; one that is asked for and not there raises an error naming the file."""

    def __init__(self, path: Path, values: Mapping[str, Any]):
        super().__init__(values)
        self.path = path

    def __missing__(self, key: str) -> Any:
        raise damaged(self.path)

    def whole(self, key: str) -> int:
        """A whole number, 0 or more, of the plain values."""
        value = self[key]
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise damaged(self.path)
        return value


def damaged(path: Path) -> IntaglioError:
    """The error for a state that is not what was stored."""
    return IntaglioError(f"{path} is damaged; delete it, and this part of the work is done again")
