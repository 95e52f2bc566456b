"""DAREx: of a fine-tune's change a random few entries, rescaled such that layers' outputs stay as near as they can."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.models.packing.drawn_entries import DrawnEntries
from intaglio.models.packing.term import Term
from intaglio.shrink.layer_by_layer import LayerShrinker
from intaglio.shrink.layer_statistics import Gathered, InputStatistics


@dataclass(frozen=True, kw_only=True)
class DAREx(LayerShrinker):
    """DAREx-q: keeps a random few of a fine-tune's changes, rescaled for the least error of outputs.

    With δ the change of a weight from the base, each entry stays with the probability 1-p, p being `drop`, and is
    divided by q: θ = θ_base + m·δ/q. DARE takes q = 1-p, whose outputs are right on average and far off for a large p.
    The expected squared error of a row's output, over masks and inputs x, is (1-(1-p)/q)²·E[(δx)²] + p(1-p)/q²·Σ_j
    δ_j²·E[x_j²], which is least at q = (1-p) + p·ΣV/ΣS², with S² and V these two moments, summed over the rows of a
    layer; `rule` closed takes that, each layer its own. It stands in place of the published rules for q (a search by
    the model's outputs, and a bound for each layer), which were not built. The mask is found again by its seed, so that
    places take no bits. Biases and norms are stored whole, in half precision.

    Source: arXiv 2410.09344.
    """

    kind: ClassVar[Literal["quantise", "prune"]] = "prune"
    calibrated: ClassVar[bool] = True
    on_base: ClassVar[bool] = True
    gathered: ClassVar[Gathered] = "products"
    bench: ClassVar[Sequence[Mapping[str, Any]]] = ()

    keep: tuple[str, ...] = ()
    """Must be empty: every layer is stored as its change."""
    drop: float = 0.9
    """Probability that an entry of the change is dropped, above 0 and below 1."""
    rule: Literal["closed", "dare"] = "closed"
    """closed: the divisor of least expected error of the outputs; dare: 1 - drop."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.drop < 1, f"drop must be above 0 and below 1, not {self.drop}")
        require(not self.keep, "keep must be empty: every layer is stored as its change from the base")

    def pack(self, weight: Float[Tensor, "o n"], inputs: InputStatistics | None, label: str = "") -> tuple[Term, ...]:
        """The kept entries of a change, over the divisor."""
        divisor = 1 - self.drop
        if self.rule == "closed" and inputs is not None:
            divisor = least_divisor(weight, inputs, self.drop)
        return (DrawnEntries.of(weight, 1 / divisor, self.seed, label, 1 - self.drop),)

    def bits_of(self, rows: int, columns: int) -> float:
        """Bits of the entries that stay."""
        return 16 * (1 - self.drop)


def least_divisor(change: Float[Tensor, "o n"], inputs: InputStatistics, drop: float) -> float:
    """(1-p) + p·ΣV/ΣS²: the divisor of least expected squared error of a layer's outputs; 1-p where nothing changed."""
    began, outputs = 0, torch.zeros((), dtype=torch.float64)
    for block in inputs.products:
        part = change[:, began : began + len(block)].double()
        outputs += ((part @ block.double()) * part).sum()
        began += len(block)
    each = (change.double().square() @ inputs.squares.double()).sum()
    return 1 - drop + drop * float(each / outputs) if float(outputs) > 0 else 1 - drop
