"""`DrawnEntries`: a matrix of which a random few entries are kept, found again by the seed that drew them."""

import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16
from torch import Tensor

from intaglio.data_files import Fields
from intaglio.errors import BadInput
from intaglio.models.packing.term import Fits, Term
from intaglio.models.packing.term_tensors import DAMAGED, taken


def drawn_mask(seed: int, label: str, kept: float, shape: tuple[int, int]) -> Bool[Tensor, "o n"]:
    """Independent entries, each kept with the probability `kept`: a function of the seed and the label alone.

    The words are those of the counter-based generator Philox, whose stream is the same in every version.
    """
    key = int.from_bytes(hashlib.sha256(f"{seed}\n{label}".encode()).digest()[:16], "big")
    words = np.random.Philox(key=key).random_raw(shape[0] * shape[1])
    return torch.from_numpy(words < np.uint64(min(2**64 - 1, round(kept * 2**64)))).view(shape)


@dataclass(frozen=True, eq=False)
class DrawnEntries(Term):
    """A sparse matrix whose mask is drawn from a seed and a label, so that its places take no bits."""

    kind: ClassVar[str] = "drawn"
    values: Float16[Tensor, "kept"]
    """In the order of rows and columns, over `scale`."""
    scale: float
    """A power of two, by which the largest value is near 1."""
    seed: int
    label: str
    kept: float
    """Probability of an entry, above 0 and at most 1."""
    shape: tuple[int, int]

    @classmethod
    def of(cls, matrix: Float[Tensor, "o n"], factor: float, seed: int, label: str, kept: float) -> "DrawnEntries":
        """The drawn entries of a matrix times a factor, rounded to half precision."""
        shape = (matrix.shape[0], matrix.shape[1])
        values = (matrix * factor)[drawn_mask(seed, label, kept, shape)]
        largest = float(values.abs().max()) if len(values) else 0.0
        scale = 2.0 ** np.ceil(np.log2(largest)) if largest else 1.0
        return cls((values / scale).half(), float(scale), seed, label, kept, shape)

    def unpack(self) -> Float[Tensor, "o n"]:
        """The matrix, float32, zero where nothing is kept."""
        mask = drawn_mask(self.seed, self.label, self.kept, self.shape)
        return torch.zeros(self.shape).masked_scatter(mask, self.values.float() * self.scale)

    def tensors(self) -> dict[str, Tensor]:
        """`values`."""
        return {"values": self.values}

    def facts(self) -> dict[str, Any]:
        """Seed, label, probability, scale and the count of values."""
        about = {"seed": self.seed, "label": self.label, "probability": self.kept, "scale": self.scale}
        return {**about, "count": len(self.values)}

    @classmethod
    def read(cls, facts: Fields, shape: tuple[int, int], tensors: Fits) -> "DrawnEntries":
        """The term of a file; errors as of `Term.read`."""
        count, seed, label = facts.whole("count", high=shape[0] * shape[1]), facts.whole("seed"), facts.text("label")
        kept, scale = (
            facts.number("probability", low=0.0, high=1.0, above=True),
            facts.number("scale", low=0.0, above=True),
        )
        if int(drawn_mask(seed, label, kept, shape).sum()) != count:
            raise BadInput(f"{facts.source} does not hold the {count} values that its seed draws: {DAMAGED}")
        return cls(taken(tensors, "values", (count,), torch.float16, facts.source), scale, seed, label, kept, shape)
