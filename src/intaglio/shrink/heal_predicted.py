"""`PredictedHealing`: a healing of a denoiser that computes predicted units only, whose predictors learn beside it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from intaglio.learning.loop import StepLoss
from intaglio.models.diffusion.predicted_units import predicted_blocks, watched_units
from intaglio.shrink.heal import Healing
from intaglio.shrink.unit_choice import UnitChoice, masses_of


@dataclass(frozen=True, eq=False)
class PredictedHealing(Healing):
    """A healing whose predictors descend a loss of their own.

    It is the mean over blocks of the cross-entropy of the kept units, summed over the units of a block, on activations
    of the same rows. Plain gradient descent takes it: the loss of the healing moves no predictor, and that of the
    predictors no other weight.
    """

    choice: UnitChoice = field(default_factory=lambda: UnitChoice("mass", 0.9))
    """The units that predictors are taught."""
    rate: float = 0.1
    """Learning rate of the predictors, above 0."""
    learning: int = 0
    """First steps in which the predictors learn; they are fixed after them."""
    _now: dict[str, Any] = field(default_factory=dict)

    def _loss(self, step: int) -> StepLoss:
        self._now.update(learns=step < self.learning, loss=0.0)
        found = super()._loss(step)
        if not self._now["learns"]:
            return found
        with torch.no_grad():
            for block in predicted_blocks(self.student.denoiser).values():
                for weight in block.predictor.parameters():
                    weight.sub_(self.rate * weight.grad)
                    weight.grad = None
        return StepLoss(found.value, found.parts, {**found.beside, "predictors": self._now["loss"]})

    def _errors(self, places: Sequence[int]) -> dict[str, Float[Tensor, " n"]]:
        if not self._now["learns"]:
            return super()._errors(places)
        with watched_units(self.student.denoiser) as seen:
            errors = super()._errors(places)
        loss = self._own_loss(list(seen.values())).sum() / self.settings.batch
        loss.backward()
        self._now["loss"] += float(loss.detach())
        return errors

    def _own_loss(self, seen: Sequence[tuple[Tensor, Tensor]]) -> Float[Tensor, " n"]:
        """That of the predictors, of each row."""
        each = []
        for units, logits in seen:
            logits = logits.float()
            wanted = self.choice.labels(masses_of(units.float())).float()
            each.append(functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(1))
        return torch.stack(each).mean(0)
