"""`LayerPruning`: methods that keep the weights of the highest scores in each row, and drop the others."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.models.packing.term import Term
from intaglio.shrink.kept_weights import highest, kept_bits, kept_term, parsed_pattern
from intaglio.shrink.layer_by_layer import LayerShrinker
from intaglio.shrink.layer_statistics import InputStatistics


@dataclass(frozen=True, kw_only=True)
class LayerPruning(LayerShrinker):
    """A method that scores the weights of a row, and keeps the highest."""

    kind: ClassVar[Literal["quantise", "prune"]] = "prune"
    bench: ClassVar[Sequence[Mapping[str, Any]]] = ({"sparsity": 0.5}, {"pattern": "2:4", "bits": 6})

    sparsity: float = 0.5
    """Share of the weights of each row that is dropped, above 0 and below 1; not used with a pattern."""
    pattern: str | None = None
    """n:m, such as 2:4, keeps n of each m columns; none keeps the highest of a row. A layer whose columns m does not
    divide keeps that share of each row."""
    bits: int = 8
    """Bits of a code of the weights that stay, 2 to 8."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.sparsity < 1, f"sparsity must be above 0 and below 1, not {self.sparsity}")
        require(2 <= self.bits <= 8, f"bits must be 2 to 8, not {self.bits}")
        parsed_pattern(self.pattern)
        require(
            self.pattern is None or self.sparsity == 0.5,
            "sparsity is told by the pattern: give one of pattern and sparsity",
        )

    @abstractmethod
    def scores(self, weight: Float[Tensor, "o n"], inputs: InputStatistics | None) -> Float[Tensor, "o n"]:
        """Worth of each weight, compared within its row."""

    def pack(self, weight: Float[Tensor, "o n"], inputs: InputStatistics | None, label: str = "") -> tuple[Term, ...]:
        """The weights that stay."""
        pattern = parsed_pattern(self.pattern)
        return (kept_term(weight, highest(self.scores(weight, inputs), self.sparsity, pattern), self.bits, pattern),)

    def bits_of(self, rows: int, columns: int) -> float:
        """Bits of places, codes and a scale."""
        return kept_bits(columns, self.sparsity, parsed_pattern(self.pattern), self.bits)
