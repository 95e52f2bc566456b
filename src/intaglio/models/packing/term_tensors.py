"""Tensors of a term that was read from a file, checked by type and shape."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from intaglio.errors import BadInput

DAMAGED = "the file is damaged; copy it again, or shrink the model again"


def taken(tensors: Mapping[str, Tensor], name: str, shape: Sequence[int], dtype: torch.dtype, source: str) -> Tensor:
    """The tensor of a field. Raises `BadInput` where it is missing, of another shape or type, or not finite."""
    tensor = tensors.get(name)
    if tensor is None:
        raise BadInput(f"{source} lacks its {name}: {DAMAGED}")
    if tuple(tensor.shape) != tuple(shape) or tensor.dtype != dtype:
        said = f"{list(tensor.shape)} of {_name(tensor.dtype)}"
        raise BadInput(f"{source} has {name} {said}, where {list(shape)} of {_name(dtype)} are due: {DAMAGED}")
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise BadInput(f"{source} holds NaN or infinity in its {name}: {DAMAGED}")
    return tensor


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
