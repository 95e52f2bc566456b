"""The trainings of a sharpening: of the generator, of the encoder, or of both at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from intaglio.explain.sharpening.flow_lessons import FlowLessons, Seen, all_seen, seen
from intaglio.explain.sharpening.weak_generator import WeakGenerator
from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import StepLoss, backward, train
from intaglio.learning.settings import CosineSettings
from intaglio.learning.trainer import Trainer
from intaglio.metrics.similarity.encoder import Encoder
from intaglio.runs.run import Run

SAVED_S = 20.0
SAVED = 50
"""Seconds between two saved states, beside so many that are saved in all."""
GENERATOR, ENCODER, BOTH = "generator", "encoder", "both"
"""Names of the trainings, of their states and logs."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Sharpening:
    """An encoder and a generator that are taught in turn or at once, both changed in place."""

    encoder: Encoder
    generator: WeakGenerator
    lessons: FlowLessons
    local: bool
    """Whether the generator is shown the encoder's coarsest maps."""
    run: Run

    def teach_generator(self, steps: int, rate: float) -> None:
        """The generator learns, and the encoder stays as it is."""
        every = all_seen(self.encoder, self.lessons.pixels, self.local)
        self._teach(GENERATOR, dict(self.generator.named_parameters()), every.of, steps, rate, {})

    def teach_encoder(self, steps: int, rate: float) -> None:
        """The encoder learns, and the generator stays as it is."""
        self.generator.requires_grad_(False)
        self._teach(ENCODER, learning_weights(self.encoder), self._seen, steps, rate, {})

    def teach_both(self, steps: int, rate: float, encoder_rate: float) -> None:
        """The generator learns at one rate and the encoder at another."""
        own = {f"encoder.{name}": weight for name, weight in learning_weights(self.encoder).items()}
        weights = {**dict(self.generator.named_parameters()), **own}
        self._teach(BOTH, weights, self._seen, steps, rate, dict.fromkeys(own, encoder_rate / rate))

    def _seen(self, places: list[int]) -> Seen:
        return seen(self.encoder, self.lessons.pixels[places], self.local)

    def _teach(
        self,
        name: str,
        weights: Mapping[str, Tensor],
        given: Callable[[list[int]], Seen],
        steps: int,
        rate: float,
        shares: Mapping[str, float],
    ) -> None:
        settings = CosineSettings(steps=steps, learning_rate=rate, weight_decay=0.0)
        trainer = Trainer(weights, settings, shares=shares)
        often = max(1, steps // SAVED)
        checkpoints = Checkpoints(self.run, every_s=SAVED_S, every=often, streams=(name,), state=name)
        checkpoints.restore(trainer)

        def objective(step: int) -> StepLoss:
            places = self.lessons.places(step, name)
            return backward(self.lessons.loss(self.generator, given(places), places, step, name))

        train(trainer, objective, self.run, checkpoints, label=name, stream=name)
        trainer.export()


def learning_weights(encoder: Encoder) -> dict[str, Tensor]:
    """Weights of an encoder's convolutions and of its last layer; its normalisation stays as it is."""
    return {name: weight for name, weight in encoder.named_parameters() if weight.dim() > 1}
