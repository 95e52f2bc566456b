"""one-slot: all numbers at every noise level, in no order."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from intaglio.explain.encodings.family import SlottedEncoding
from intaglio.explain.encodings.noise_slots import NoiseSlots


@dataclass(frozen=True, kw_only=True)
class OneSlot(SlottedEncoding):
    """PDAE: an encoding all of whose numbers are given at every noise level.

    The same networks, loss and training as `diti`, with one slot of all timesteps: nothing says which number makes up
    what. The published decoder is larger, as that of `diti` is.

    Source: Zhang, Zhao and Lin, arXiv 2212.12990.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "all numbers"

    def slots(self, confused: Float[Tensor, "t"]) -> NoiseSlots:
        """See the family."""
        return NoiseSlots((len(confused),), (self.numbers,))
