"""`KeptEntries`: a matrix of which each row keeps equally many entries, the others being zero."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intaglio.data_files import Fields
from intaglio.errors import BadInput
from intaglio.models.packing.bit_planes import from_planes, plane_bytes, to_planes
from intaglio.models.packing.integers import Integers
from intaglio.models.packing.term import Fits, Term
from intaglio.models.packing.term_tensors import DAMAGED, taken


@dataclass(frozen=True, eq=False)
class KeptEntries(Term):
    """A sparse matrix: where entries are kept, and their values as `Integers`.

    With a pattern n of m, each m consecutive columns of a row keep n entries, whose places within them take log2(m)
    bits each; without one, a bit for each entry says whether it is kept.
    """

    kind: ClassVar[str] = "kept"
    mask: Bool[Tensor, "o n"]
    """As many in each row."""
    values: Integers
    """[o, kept], in the order of the columns."""
    pattern: tuple[int, int] | None = None
    """(n, m): m a power of two that divides the columns."""

    def unpack(self) -> Float[Tensor, "o n"]:
        """The matrix, float32, zero where nothing is kept."""
        return torch.zeros(self.mask.shape).masked_scatter(self.mask, self.values.unpack())

    def tensors(self) -> dict[str, Tensor]:
        """`mask` or `places` as bit planes, and the tensors of the values as `values.NAME`."""
        values = {f"values.{name}": tensor for name, tensor in self.values.tensors().items()}
        if self.pattern is None:
            return {"mask": to_planes(self.mask.to(torch.uint8), 1), **values}
        places = self.mask.nonzero()[:, 1] % self.pattern[1]
        return {"places": to_planes(places.to(torch.uint8), _place_bits(self.pattern)), **values}

    def facts(self) -> dict[str, Any]:
        """Entries kept in a row, the pattern or null, and the facts of the values."""
        pattern = None if self.pattern is None else list(self.pattern)
        return {"kept": self.values.codes.shape[1], "pattern": pattern, "values": self.values.facts()}

    @classmethod
    def read(cls, facts: Fields, shape: tuple[int, int], tensors: Fits) -> "KeptEntries":
        """The term of a file; errors as of `Term.read`."""
        rows, columns = shape
        kept = facts.whole("kept", low=1, high=columns)
        inner = {name.removeprefix("values."): tensor for name, tensor in tensors.items() if name.startswith("values.")}
        values = Integers.read(facts.table("values"), (rows, kept), inner)
        if (given := facts.numbers("pattern", None, 2)) is None:
            planes = taken(tensors, "mask", (1, plane_bytes(rows * columns)), torch.uint8, facts.source)
            mask = from_planes(planes, rows * columns).view(rows, columns).bool()
            if not bool((mask.sum(1) == kept).all()):
                raise BadInput(f"{facts.source} has a mask that does not keep {kept} entries of each row: {DAMAGED}")
            return cls(mask, values)
        pattern = (int(given[0]), int(given[1]))
        if not is_pattern(pattern, columns) or kept != columns // pattern[1] * pattern[0]:
            raise BadInput(f"{facts.source} has the pattern {given} on {columns} columns, of which {kept}: {DAMAGED}")
        return cls(_mask_of(facts.source, pattern, (rows, columns), kept, tensors), values, pattern)


def is_pattern(pattern: tuple[int, int], columns: int) -> bool:
    """Whether so many columns can keep n of each m: m a power of two from 2 to 256, 1 <= n < m, m divides them."""
    n, m = pattern
    return 2 <= m <= 256 and m & (m - 1) == 0 and 1 <= n < m and columns % m == 0


def _place_bits(pattern: tuple[int, int]) -> int:
    return pattern[1].bit_length() - 1


def _mask_of(source: str, pattern: tuple[int, int], shape: tuple[int, int], kept: int, tensors: Fits) -> Tensor:
    """The mask that places within groups of columns stand for."""
    (rows, columns), (n, m), count = shape, pattern, shape[0] * kept
    planes = taken(tensors, "places", (_place_bits(pattern), plane_bytes(count)), torch.uint8, source)
    places = from_planes(planes, count).view(rows, columns // m, n).long()
    mask = torch.zeros(rows, columns // m, m, dtype=torch.bool).scatter_(2, places, True)
    if not bool((mask.sum(2) == n).all()):
        raise BadInput(f"{source} keeps one place twice: {DAMAGED}")
    return mask.view(rows, columns)
