"""genhancer: a weak generator learns to draw from an encoder's descriptors, then the encoder learns from its errors."""

from dataclasses import dataclass

from intaglio.explain.sharpening.family import EncoderSharpener
from intaglio.explain.sharpening.sharpening_stages import Sharpening


@dataclass(frozen=True, kw_only=True)
class GenHancer(EncoderSharpener):
    """GenHancer: a weak generator learns from descriptors, then their encoder learns from it.

    Stage 1: the generator g and the projector of descriptors e(y) learn, the encoder e is frozen. Stage 2: the
    encoder learns by the frozen generator. Both lower

        mean |g((1 - t) x + t n, t, e(y)) - (n - x)|^2,    t = sigmoid(s N(0, 1)),

    over pictures y, their latents x and noise n. The generator is told the descriptor of the whole picture and no map
    of places, by which drawing would be trivial. Published are 100,000 steps at 1e-4 and 10,000 steps at 1e-5 of 32
    pictures, a generator of two double and four single blocks of a diffusion transformer, and an encoder (CLIP) that
    learns by LoRA; here all weights of the encoder's convolutions learn, the generator is a small convolutional
    network, and its rate is higher for fewer steps.

    Source: Ma, Ge, Wang, Guo, Ge and Shan, arXiv 2503.19480.
    """

    def teach(self, both: Sharpening) -> None:
        """See the room."""
        both.teach_generator(self.generator_steps, self.generator_rate)
        both.teach_encoder(self.encoder_steps, self.encoder_rate)

    def seconds(self, cached: float, whole: float) -> float:
        """See the room."""
        return self.generator_steps * cached + self.encoder_steps * whole
