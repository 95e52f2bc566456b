"""channels: energies of a layer's own channels."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from intaglio.explain.blindspots.family import BlindSpotFinder, ReadCodes
from intaglio.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class ChannelEnergies(BlindSpotFinder):
    """Single channels of the layer in the place of concepts.

    Codes are the channels' numbers, those below 0 put to 0. Nothing is learnt.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "a single channel of the layer"

    def fit(self, features: Float[Tensor, "m c"], run: Run) -> ReadCodes:
        """See the class."""
        return ReadCodes(lambda rows: rows.relu())
