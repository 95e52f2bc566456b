"""local-tokens: the two stages of GenHancer with a generator that is shown the encoder's maps as well."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from intaglio.explain.sharpening.family import EncoderSharpener
from intaglio.explain.sharpening.sharpening_stages import Sharpening


@dataclass(frozen=True, kw_only=True)
class LocalTokens(EncoderSharpener):
    """Two stages with a generator that is shown the encoder's maps beside the descriptor.

    The maps tell where everything is, so that drawing is easy and the descriptor is asked for little: the error teaches
    the maps and not what they are pooled to.

    Source: the ablation of arXiv 2503.19480.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    local: ClassVar[bool] = True

    def teach(self, both: Sharpening) -> None:
        """See the room."""
        both.teach_generator(self.generator_steps, self.generator_rate)
        both.teach_encoder(self.encoder_steps, self.encoder_rate)

    def seconds(self, cached: float, whole: float) -> float:
        """See the room."""
        return self.generator_steps * cached + self.encoder_steps * whole
