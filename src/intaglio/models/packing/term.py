"""`Term`: one summand of a packed weight, a matrix that is stored in few bits."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from intaglio.data_files import Fields

Fits = Mapping[str, Tensor]
"""The tensors of a term by the names of its fields, and those that several weights hold as `shared/NAME`."""
SHARED = "shared"
"""What the names of tensors that several weights hold begin with in a file."""


@dataclass(frozen=True, eq=False)
class Term(ABC):
    """A matrix [o, n] in few bits. What it unpacks to is all that counts: a model is made of nothing else."""

    kind: ClassVar[str]
    """Name in files."""

    @abstractmethod
    def unpack(self) -> Float[Tensor, "o n"]:
        """The matrix, float32, to the same bits on every machine."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Its tensors in a file, by the names of its fields."""

    def shared(self) -> dict[str, Tensor]:
        """Tensors that it may hold together with other weights, by names that are unique in a file: stored once."""
        return {}

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Its part of a file's header beside its kind, as plain values."""

    @classmethod
    @abstractmethod
    def read(cls, facts: Fields, shape: tuple[int, int], tensors: Fits) -> "Term":
        """A term of so many rows and columns, from its facts and tensors.

        Raises `BadInput` for facts that no such term has, and for tensors of another type or shape.
        """

    @property
    def bytes(self) -> int:
        """Bytes of its own tensors in a file."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors().values())
