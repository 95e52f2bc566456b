"""`Integers`: a matrix as codes of 1 to 8 bits with a scale for each row, or for each group of columns of a row."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float16, UInt8
from torch import Tensor

from intaglio.data_files import Fields
from intaglio.errors import BadInput
from intaglio.models.packing.bit_planes import MOST_BITS, from_planes, plane_bytes, to_planes
from intaglio.models.packing.term import Fits, Term
from intaglio.models.packing.term_tensors import DAMAGED, taken


@dataclass(frozen=True, eq=False)
class Integers(Term):
    """Weights `scale * (code - zero)`, in g groups of equally many columns of each row.

    Without zeros, the zero of all is half of the codes' number: codes 0..2^b-1 stand for -2^(b-1)..2^(b-1)-1.
    """

    kind: ClassVar[str] = "int"
    codes: UInt8[Tensor, "o n"]
    """Below 2**bits."""
    scales: Float16[Tensor, "o g"]
    bits: int
    """1 to 8."""
    zeros: UInt8[Tensor, "o g"] | None = None
    """Codes that stand for 0."""

    def unpack(self) -> Float[Tensor, "o n"]:
        """The matrix, float32."""
        (rows, columns), groups = self.codes.shape, self.scales.shape[1]
        zero = float(2 ** (self.bits - 1)) if self.zeros is None else self.zeros.float()[:, :, None]
        steps = self.codes.view(rows, groups, columns // groups).float() - zero
        return (steps * self.scales.float()[:, :, None]).view(rows, columns)

    def tensors(self) -> dict[str, Tensor]:
        """`codes` as bit planes, `scales`, and `zeros` where there are some."""
        zeros = {} if self.zeros is None else {"zeros": self.zeros}
        return {"codes": to_planes(self.codes, self.bits), "scales": self.scales, **zeros}

    def facts(self) -> dict[str, Any]:
        """Bits, columns of a group, and whether there are zeros."""
        group = self.codes.shape[1] // self.scales.shape[1]
        return {"bits": self.bits, "group": group, "zeros": self.zeros is not None}

    @classmethod
    def read(cls, facts: Fields, shape: tuple[int, int], tensors: Fits) -> "Integers":
        """The term of a file; errors as of `Term.read`."""
        rows, columns = shape
        bits, group = facts.whole("bits", low=1, high=MOST_BITS), facts.whole("group", low=1, high=columns)
        if columns % group:
            raise BadInput(f"{facts.source} has groups of {group}, which do not divide {columns} columns: {DAMAGED}")
        groups = (rows, columns // group)
        planes = taken(tensors, "codes", (bits, plane_bytes(rows * columns)), torch.uint8, facts.source)
        zeros = taken(tensors, "zeros", groups, torch.uint8, facts.source) if facts.flag("zeros") else None
        scales = taken(tensors, "scales", groups, torch.float16, facts.source)
        return cls(from_planes(planes, rows * columns).view(rows, columns), scales, bits, zeros)
