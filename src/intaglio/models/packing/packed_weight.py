"""`PackedWeight`: one weight of a network in few bits, the sum of its terms."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.data_files import Fields
from intaglio.errors import BadInput
from intaglio.models.packing.codebook_entries import CodebookEntries
from intaglio.models.packing.drawn_entries import DrawnEntries
from intaglio.models.packing.integers import Integers
from intaglio.models.packing.kept_entries import KeptEntries
from intaglio.models.packing.low_rank import LowRank
from intaglio.models.packing.normal_floats import NormalFloats
from intaglio.models.packing.signs import Signs
from intaglio.models.packing.term import SHARED, Term

TERMS: dict[str, type[Term]] = {
    kind.kind: kind for kind in (Integers, NormalFloats, KeptEntries, DrawnEntries, LowRank, Signs, CodebookEntries)
}
"""The terms that a file can hold, by kind."""
MOST_TERMS = 8


@dataclass(frozen=True, eq=False)
class PackedWeight:
    """A weight [o, ...] as a sum of matrices [o, n], n the product of its other sides: `o` rows, one an output."""

    shape: tuple[int, ...]
    terms: tuple[Term, ...]
    """One at least."""
    on_base: bool = False
    """Whether the terms are a change of the weight of another model, its base."""

    def unpack(self, base: Tensor | None = None) -> Float[Tensor, "..."]:
        """The weight, float32; `base` is the base's weight where the terms are a change of it."""
        first, *others = (term.unpack() for term in self.terms)
        whole = sum(others, start=first).view(self.shape)
        if not self.on_base:
            return whole
        if base is None:
            raise ValueError("this weight is a change of another model's, which must be given")
        return base.detach().float().cpu() + whole

    @property
    def codes(self) -> Integers | None:
        """Its only term, where that is codes without zeros of their own and no change of a base; None for others."""
        first = self.terms[0]
        alone = len(self.terms) == 1 and not self.on_base
        return first if alone and isinstance(first, Integers) and first.zeros is None else None

    @property
    def numbers(self) -> int:
        """Weights in it."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of its own tensors in a file."""
        return sum(term.bytes for term in self.terms)

    @property
    def bits(self) -> float:
        """Bits a weight, scales and all, without tensors that it shares."""
        return 8 * self.bytes / self.numbers

    def tensors(self) -> dict[str, Tensor]:
        """Its own tensors in a file by `TERM/FIELD`, the terms counted from 0."""
        return {f"{k}/{name}": t for k, term in enumerate(self.terms) for name, t in term.tensors().items()}

    def shared(self) -> dict[str, Tensor]:
        """Tensors that it may hold together with other weights of a file, as `shared/NAME`."""
        return {f"{SHARED}/{name}": t for term in self.terms for name, t in term.shared().items()}

    def facts(self) -> dict[str, Any]:
        """Its part of a file's header: its shape, and the kind and facts of each term."""
        on_base = {"on_base": True} if self.on_base else {}
        return {"shape": list(self.shape), **on_base, "terms": [{"kind": t.kind, **t.facts()} for t in self.terms]}

    @classmethod
    def read(cls, facts: Fields, tensors: Mapping[str, Tensor]) -> "PackedWeight":
        """A weight from its facts and tensors, own and shared. Raises `BadInput` where they do not belong together."""
        shape = tuple(map(int, facts.numbers("shape")))
        if not 2 <= len(shape) <= 4 or min(shape) < 1:
            raise BadInput(f"{facts.source} has the shape {list(shape)}, which no packed weight has; {facts.remedy}")
        given = facts.values.get("terms")
        if not isinstance(given, list) or not 1 <= len(given) <= MOST_TERMS:
            raise BadInput(f"{facts.source} does not list 1 to {MOST_TERMS} terms; {facts.remedy}")
        terms, shared = [], {name: t for name, t in tensors.items() if name.partition("/")[0] == SHARED}
        for place, one in enumerate(given):
            about = Fields.of(one, f"{facts.source}, term {place}", facts.remedy)
            own = {name.partition("/")[2]: t for name, t in tensors.items() if name.partition("/")[0] == str(place)}
            kind = TERMS[about.text("kind", among=TERMS)]
            terms.append(kind.read(about, (shape[0], prod(shape[1:])), shared | own))
        return cls(shape, tuple(terms), facts.flag("on_base", False))


def shared_tensors(weights: Mapping[str, PackedWeight]) -> dict[str, Tensor]:
    """The tensors that these weights share, as `shared/NAME`, each once.

    Raises `ValueError` where two weights call two tensors by one name.
    """
    found = dict[str, Tensor]()
    for name, one in weights.items():
        for key, tensor in one.shared().items():
            known = found.setdefault(key, tensor)
            if known is not tensor and not torch.equal(known, tensor):
                raise ValueError(f"{name} and a weight before it have different tensors {key}")
    return found


def bytes_of_all(weights: Mapping[str, PackedWeight]) -> int:
    """Bytes of the tensors of these weights in a file, shared ones once."""
    shared = sum(tensor.numel() * tensor.element_size() for tensor in shared_tensors(weights).values())
    return shared + sum(one.bytes for one in weights.values())
