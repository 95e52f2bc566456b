"""`CodebookEntries`: a matrix whose groups of columns are sums of entries of codebooks, which weights may share."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float16, UInt8
from torch import Tensor

from intaglio.data_files import Fields
from intaglio.errors import BadInput
from intaglio.models.packing.bit_planes import MOST_BITS, from_planes, plane_bytes, to_planes
from intaglio.models.packing.term import SHARED, Fits, Term
from intaglio.models.packing.term_tensors import DAMAGED, taken

MOST_BOOKS = 8


@dataclass(frozen=True, eq=False)
class CodebookEntries(Term):
    """Each g consecutive columns of a row are `scale * (C_1[b_1] + ... + C_m[b_m])`, the scale that of the row.

    The m codebooks of K entries each are one tensor, which a file stores once for all weights that name it.
    """

    kind: ClassVar[str] = "codes"
    codes: UInt8[Tensor, "m o k"]
    """The entries b, below K; k groups of columns a row."""
    books: Float16[Tensor, "m K g"]
    """K a power of two from 2 to 256."""
    name: str
    """Of the books in the file."""
    scales: Float16[Tensor, "o"]

    def unpack(self) -> Float[Tensor, "o n"]:
        """The matrix, float32."""
        return entries_sum(self.codes, self.books.float(), self.scales.float())

    def tensors(self) -> dict[str, Tensor]:
        """`codes` as bit planes, those of the first book first, and `scales`."""
        return {"codes": to_planes(self.codes, _bits(self.books.shape[1])), "scales": self.scales}

    def shared(self) -> dict[str, Tensor]:
        """The books, by their name."""
        return {self.name: self.books}

    def facts(self) -> dict[str, Any]:
        """The books' name, their count, entries of each, and columns of an entry."""
        count, entries, group = self.books.shape
        return {"name": self.name, "books": count, "entries": entries, "group": group}

    @classmethod
    def read(cls, facts: Fields, shape: tuple[int, int], tensors: Fits) -> "CodebookEntries":
        """The term of a file; errors as of `Term.read`."""
        rows, columns = shape
        group = facts.whole("group", low=1, high=columns)
        if columns % group:
            raise BadInput(f"{facts.source} has groups of {group}, which do not divide {columns} columns: {DAMAGED}")
        books, entries = facts.whole("books", low=1, high=MOST_BOOKS), facts.whole("entries", low=2, high=2**MOST_BITS)
        if entries & (entries - 1):
            raise BadInput(f"{facts.source} has {entries} entries a book, which is no power of two: {DAMAGED}")
        name, count = facts.text("name"), books * rows * (columns // group)
        planes = taken(tensors, "codes", (_bits(entries), plane_bytes(count)), torch.uint8, facts.source)
        held = taken(tensors, f"{SHARED}/{name}", (books, entries, group), torch.float16, facts.source)
        scales = taken(tensors, "scales", (rows,), torch.float16, facts.source)
        return cls(from_planes(planes, count).view(books, rows, columns // group), held, name, scales)


def entries_sum(
    codes: UInt8[Tensor, "m o k"], books: Float[Tensor, "m K g"], scales: Float[Tensor, "o"]
) -> Float[Tensor, "o n"]:
    """The matrix of these entries, in float32 and with gradients of books and scales; book by book, in their order."""
    first, *others = (book[code.long()] for book, code in zip(books, codes, strict=True))
    return sum(others, start=first).flatten(1) * scales[:, None]


def _bits(entries: int) -> int:
    return entries.bit_length() - 1
