"""`NormalFloats`: a matrix as codes of 4 bits for sixteen levels that normally distributed weights use alike."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float16, UInt8
from scipy.special import ndtri
from torch import Tensor

from intaglio.data_files import Fields
from intaglio.errors import BadInput
from intaglio.models.packing.bit_planes import from_planes, plane_bytes, to_planes
from intaglio.models.packing.term import Fits, Term
from intaglio.models.packing.term_tensors import DAMAGED, taken

BITS, OFFSET = 4, 0.9677083
"""Bits of a code, and the normal distribution's probability that the largest level lies at."""


def normal_levels() -> Float[Tensor, "16"]:
    """The levels of NF4, from -1 to 1, 0 among them: 8 above 0 and 7 below, even steps of probability.

    Source: arXiv 2305.14314, section 3.
    """
    above = ndtri(torch.linspace(OFFSET, 0.5, 9, dtype=torch.float64)[:-1].numpy())
    below = -ndtri(torch.linspace(OFFSET, 0.5, 8, dtype=torch.float64)[:-1].numpy())
    levels = torch.tensor([*below, 0.0, *above[::-1]], dtype=torch.float64)
    return (levels / levels.max()).float()


@dataclass(frozen=True, eq=False)
class NormalFloats(Term):
    """Weights `scale * level[code]`, in g groups of equally many columns of each row: NF4 of arXiv 2305.14314."""

    kind: ClassVar[str] = "nf4"
    codes: UInt8[Tensor, "o n"]
    """Places among `normal_levels()`, below 16."""
    scales: Float16[Tensor, "o g"]
    """Largest absolute weight of each group."""

    def unpack(self) -> Float[Tensor, "o n"]:
        """The matrix, float32."""
        (rows, columns), groups = self.codes.shape, self.scales.shape[1]
        levels = normal_levels()[self.codes.long()].view(rows, groups, columns // groups)
        return (levels * self.scales.float()[:, :, None]).view(rows, columns)

    def tensors(self) -> dict[str, Tensor]:
        """`codes` as bit planes, and `scales`."""
        return {"codes": to_planes(self.codes, BITS), "scales": self.scales}

    def facts(self) -> dict[str, Any]:
        """Columns of a group."""
        return {"group": self.codes.shape[1] // self.scales.shape[1]}

    @classmethod
    def read(cls, facts: Fields, shape: tuple[int, int], tensors: Fits) -> "NormalFloats":
        """The term of a file; errors as of `Term.read`."""
        rows, columns = shape
        group = facts.whole("group", low=1, high=columns)
        if columns % group:
            raise BadInput(f"{facts.source} has groups of {group}, which do not divide {columns} columns: {DAMAGED}")
        planes = taken(tensors, "codes", (BITS, plane_bytes(rows * columns)), torch.uint8, facts.source)
        scales = taken(tensors, "scales", (rows, columns // group), torch.float16, facts.source)
        return cls(from_planes(planes, rows * columns).view(rows, columns), scales)
