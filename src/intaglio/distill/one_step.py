"""Students of one step: what their methods share."""

from abc import ABC
from dataclasses import dataclass

from intaglio.distill.family import Distiller
from intaglio.distill.heads import refuse_no_middle
from intaglio.errors import BadInput
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

STATE = "student"
"""Name of the run's state, in which all learners are."""


@dataclass(frozen=True, kw_only=True)
class OneStepDistiller(Distiller, ABC):
    """A method whose student turns unit noise into clean latents by one prediction, judged on the middle block."""

    timestep: int | None = None
    """Timestep at which the student hears unit noise; None: the schedule's last."""

    @property
    def states(self) -> tuple[str, ...]:
        """That of all learners."""
        return (STATE,)

    def check(self, teacher: LatentDiffusion) -> None:
        """Raises `BadInput` for a teacher that it cannot distil, and for a timestep that there is not."""
        super().check(teacher)
        refuse_no_middle(teacher)
        last = teacher.schedule.count - 1
        if self.timestep is not None and not 0 < self.timestep <= last:
            raise BadInput(f"--timestep must be 1 to {last} for {teacher.name}, not {self.timestep}")

    def first(self, teacher: LatentDiffusion) -> int:
        """The timestep at which the student hears unit noise."""
        return teacher.schedule.count - 1 if self.timestep is None else self.timestep
