"""Two players: a student's training with other learners, such as a critic, whose states are saved as one."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from intaglio.errors import IntaglioError
from intaglio.learning.loop import StepLoss
from intaglio.learning.precision import Precision
from intaglio.learning.settings import OptimizerSettings
from intaglio.learning.trainer import Trainer, Weights

STEP = "step"
"""The saved number of another learner's updates."""


class TwoPlayers(Trainer):
    """The trainer of a student, and of the learners that it plays against.

    Its saved state holds theirs too, so that a run that is resumed goes on from one moment of them all. An update of
    another learner is made by `play`, within the student's step.
    """

    def __init__(
        self,
        weights: Weights,
        settings: OptimizerSettings,
        others: Mapping[str, Trainer],
        precision: Precision = "float32",
    ):
        super().__init__(weights, settings, precision=precision)
        self.others = dict(others)

    @property
    def leaves(self) -> list[Tensor]:
        """Those of all learners."""
        return [*super().leaves, *(leaf for other in self.others.values() for leaf in other.leaves)]

    def drop_gradients(self) -> None:
        """Forget the gradients of all learners."""
        for one in (super(), *self.others.values()):
            one.drop_gradients()

    def play(self, name: str, turn: int, loss: Callable[[], StepLoss]) -> float:
        """Update number `turn` of another learner, unless it was made before; returns the loss.

        Raises `IntaglioError` for one that is not finite.
        """
        other = self.others[name]
        if turn < other.step:
            return float(other.losses[turn])
        found = loss()
        norm = other.gradient_norm()
        if not math.isfinite(found.value + float(norm)):
            raise IntaglioError(f"The loss of the {name} is not finite at update {turn + 1}; try a lower rate for it.")
        other.update(found.value, norm)
        return found.value

    def state(self) -> dict[str, Tensor]:
        """That of the student, and those of the others under their names; the tensors are shared, not copied."""
        found = super().state()
        for name, other in self.others.items():
            found |= {f"{name}/{key}": value for key, value in other.state().items()}
            found[f"{name}/{STEP}"] = torch.tensor(other.step)
        return found

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor], step: int) -> None:
        """Go on after `step` updates of the student. Raises `IntaglioError` where the state does not fit."""
        for name, other in self.others.items():
            own = {key.removeprefix(f"{name}/"): value for key, value in state.items() if key.startswith(f"{name}/")}
            other.restore(own, int(own[STEP]))
        super().restore(state, step)

    def export(self, snapshot: Weights | None = None) -> None:
        """Make the student's weights those to be exported; no learner collects gradients any more."""
        super().export(snapshot)
        for other in self.others.values():
            other.export()
