"""`LowRank`: a matrix as the product of two thin ones."""

from dataclasses import dataclass
from math import frexp
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float16, Float64
from torch import Tensor

from intaglio.data_files import Fields
from intaglio.models.packing.integers import Integers
from intaglio.models.packing.term import Fits, Term
from intaglio.models.packing.term_tensors import taken

Factor = Float16[Tensor, "_ _"] | Integers
"""Either factor, in half precision or as codes with scales."""
HIGHEST, GRID = 4096, 20
"""Largest rank, and the bits below its largest number that a factor is rounded to."""


@dataclass(frozen=True, eq=False)
class LowRank(Term):
    """The product `up @ down`, of rank r: r(o + n) numbers in place of on.

    It unpacks to a dense matrix: smaller in a file, and no fewer multiplications once it is loaded. Each factor is
    taken as whole multiples of 2^-20 of the power of two above its largest number: the sums of up to 4,096 products of
    such are exact in float64, in any order, and so the same bits on every machine.
    """

    kind: ClassVar[str] = "lowrank"
    up: Factor
    """[o, r]."""
    down: Factor
    """[r, n]."""

    @property
    def rank(self) -> int:
        """Columns of `up`, 1 to 4,096."""
        return _dense(self.up).shape[1]

    def unpack(self) -> Float[Tensor, "o n"]:
        """The product, float32."""
        return (_on_grid(self.up) @ _on_grid(self.down)).float()

    def tensors(self) -> dict[str, Tensor]:
        """`up` and `down`, or the tensors of their codes as `up.NAME` and `down.NAME`."""
        return {**_tensors("up", self.up), **_tensors("down", self.down)}

    def facts(self) -> dict[str, Any]:
        """The rank, and the facts of each factor's codes, null for one in half precision."""
        return {"rank": self.rank, "up": _facts(self.up), "down": _facts(self.down)}

    @classmethod
    def read(cls, facts: Fields, shape: tuple[int, int], tensors: Fits) -> "LowRank":
        """The term of a file; errors as of `Term.read`."""
        (rows, columns), rank = shape, facts.whole("rank", low=1, high=HIGHEST)
        up = _read("up", facts, (rows, rank), tensors)
        return cls(up, _read("down", facts, (rank, columns), tensors))


def _dense(factor: Factor) -> Tensor:
    return factor.unpack() if isinstance(factor, Integers) else factor


def _on_grid(factor: Factor) -> Float64[Tensor, "rows columns"]:
    """The factor as whole multiples of 2^-20 of the power of two above its largest number."""
    dense = _dense(factor).double()
    step = 2.0 ** (frexp(float(dense.abs().max()))[1] - GRID)
    return (dense / step).round() * step


def _tensors(name: str, factor: Factor) -> dict[str, Tensor]:
    if isinstance(factor, Integers):
        return {f"{name}.{key}": tensor for key, tensor in factor.tensors().items()}
    return {name: factor}


def _facts(factor: Factor) -> dict[str, Any] | None:
    return factor.facts() if isinstance(factor, Integers) else None


def _read(name: str, facts: Fields, shape: tuple[int, int], tensors: Fits) -> Factor:
    if facts.values.get(name) is None:
        return taken(tensors, name, shape, torch.float16, facts.source)
    inner = {key.partition(".")[2]: tensor for key, tensor in tensors.items() if key.partition(".")[0] == name}
    return Integers.read(facts.table(name), shape, inner)
