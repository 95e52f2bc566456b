"""Steps of a fine-tune that keep each picture private: its gradient, clipped by itself, and the noise on their sum."""

from collections.abc import Iterator
from dataclasses import dataclass

from intaglio.adapt.settings import Training
from intaglio.adapt.training import descend
from intaglio.adapt.training_examples import TrainingExamples
from intaglio.learning.loop import StepLoss
from intaglio.learning.per_sample import Gradients
from intaglio.learning.private import Key, poisson_batch, private_gradient
from intaglio.learning.trainer import Weights
from intaglio.metrics.privacy import NoisySteps
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion


@dataclass(frozen=True, eq=False)
class PrivateSteps:
    """The objective of private steps. A picture's gradient depends on that picture alone, and on the weights.

    Its noises and timesteps follow from its content (`TrainingExamples.draws_of`): if they followed from its place, one
    picture more would change the gradients of all others, and the sum by far more than the bound.
    """

    model: LatentDiffusion
    weights: Weights
    """The trained tensors, whose gradients a step leaves."""
    settings: Training
    made: NoisySteps
    """Rate, noise and number of the steps, as they are accounted; a step takes rate times the pictures on average."""
    records: int
    """Pictures of the training set."""
    bound: float
    """Largest norm of a picture's gradient over all weights, above 0."""
    draws: int
    """Noises and timesteps over which a picture's gradient is a mean, from 1."""
    key: Key
    """What draws of pictures and noise follow from."""

    def __call__(self, examples: TrainingExamples, step: int) -> StepLoss:
        """The mean error of the step's pictures, 0 where none was drawn; the noised gradient is set on the weights."""
        chosen = poisson_batch(self.records, self.made.rate, step, self.key)
        errors = list[float]()
        noised = private_gradient(
            self._rows(examples, chosen, step, errors),
            self.weights,
            bound=self.bound,
            sigma=self.made.sigma,
            expected=self.made.rate * self.records,
            step=step,
            key=self.key,
        )
        for name, weight in self.weights.items():
            weight.grad = noised[name]
        return StepLoss(sum(errors) / max(1, len(errors)))

    def _rows(
        self, examples: TrainingExamples, chosen: list[int], step: int, errors: list[float]
    ) -> Iterator[Gradients]:
        """The gradient of each chosen picture; its error is added to `errors`.

        A row is the weights' own gradient, which the next picture takes the place of: use each before the next.
        """
        for index in chosen:
            drawn = examples.draws_of(index, step, self.draws)
            size = min(
                self.settings.micro_batch or self.draws, self.draws
            )  # draws of the one picture in memory at once
            for weight in self.weights.values():
                weight.grad = None
            error = 0.0
            for start in range(0, self.draws, size):
                part = drawn[start : start + size]
                error += float((part.weights * descend(self.model, examples, part, self.settings)).sum())
            errors.append(error)
            yield {
                name: (weight.new_zeros(weight.shape) if weight.grad is None else weight.grad)[None]
                for name, weight in self.weights.items()
            }
