"""Steps that a method takes in place of those that all methods of fine-tuning share."""

from collections.abc import Callable
from dataclasses import dataclass

from intaglio.adapt.training_examples import TrainingExamples
from intaglio.learning.loop import StepLoss
from intaglio.learning.trainer import Weights


@dataclass(frozen=True, eq=False)
class OwnSteps:
    """The objective of a method's own steps, and what it must find again when a killed run goes on."""

    objective: Callable[[TrainingExamples, int], StepLoss]
    """From the examples and the step, counted from 0: its loss, with the gradients left on the trained weights."""
    kept: Weights
    """Tensors that are saved with the state of the training, and restored in place."""
