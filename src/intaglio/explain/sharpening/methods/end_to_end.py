"""end-to-end: generator and encoder learn at once, from a generator that knows nothing."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from intaglio.explain.sharpening.family import EncoderSharpener
from intaglio.explain.sharpening.sharpening_stages import Sharpening


@dataclass(frozen=True, kw_only=True)
class EndToEnd(EncoderSharpener):
    """Generator and encoder that learn at once, each at its own rate.

    They have as many steps as the two stages of GenHancer together. Early errors are those of a generator that cannot
    draw yet, and the encoder follows them.

    Source: the ablation of arXiv 2503.19480.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"

    def teach(self, both: Sharpening) -> None:
        """See the room."""
        both.teach_both(self.generator_steps + self.encoder_steps, self.generator_rate, self.encoder_rate)

    def seconds(self, cached: float, whole: float) -> float:
        """See the room."""
        return (self.generator_steps + self.encoder_steps) * whole
