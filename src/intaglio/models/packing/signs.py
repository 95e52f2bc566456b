"""`Signs`: a matrix of which every entry is plus or minus the scale of its row."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Float16
from torch import Tensor

from intaglio.data_files import Fields
from intaglio.models.packing.bit_planes import from_planes, plane_bytes, to_planes
from intaglio.models.packing.term import Fits, Term
from intaglio.models.packing.term_tensors import taken


@dataclass(frozen=True, eq=False)
class Signs(Term):
    """A matrix `scale * sign`, one bit an entry and a scale a row; of two such the sum has two bits an entry."""

    kind: ClassVar[str] = "sign"
    positive: Bool[Tensor, "o n"]
    """Where the sign is plus."""
    scales: Float16[Tensor, "o"]

    def unpack(self) -> Float[Tensor, "o n"]:
        """The matrix, float32."""
        scales = self.scales.float()[:, None]
        return torch.where(self.positive, scales, -scales)

    def tensors(self) -> dict[str, Tensor]:
        """`signs`, one bit plane, and `scales`."""
        return {"signs": to_planes(self.positive.to(torch.uint8), 1), "scales": self.scales}

    def facts(self) -> dict[str, Any]:
        """None: the shape of the weight says all."""
        return {}

    @classmethod
    def read(cls, facts: Fields, shape: tuple[int, int], tensors: Fits) -> "Signs":
        """The term of a file; errors as of `Term.read`."""
        rows, columns = shape
        planes = taken(tensors, "signs", (1, plane_bytes(rows * columns)), torch.uint8, facts.source)
        scales = taken(tensors, "scales", (rows,), torch.float16, facts.source)
        return cls(from_planes(planes, rows * columns).view(rows, columns).bool(), scales)
