"""Healing: a smaller network learns to answer as the full one does, on calibration rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from jaxtyping import Float
from torch import Tensor, nn

from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import StepLoss, train
from intaglio.learning.step_randomness import batch_at
from intaglio.learning.trainer import Trainer, Weights
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.removed_branches import RemovedResidual
from intaglio.runs.run import Run
from intaglio.shrink.calibration_states import CalibrationStates
from intaglio.shrink.embedded_rows import EmbeddedRows
from intaglio.shrink.healing_settings import HealingSettings

STATE = "healing"
"""Name of the run's state, of its log and of its progress."""
CHECKPOINT_EVERY_S = 60.0
"""Seconds between two saved states."""
Penalty = Callable[[], Float[Tensor, ""]]
"""A further term of the loss, of the weights alone."""


@dataclass(frozen=True, eq=False)
class Healing:
    """A training of some weights of a smaller denoiser.

    The loss of a row is `task`·|ε_S - ε|² + `output`·|ε_S - ε_T|² + `features`·mean_u |u_S - u_T|²/|u_T|², with ε_S and
    ε_T the predictions of the smaller and of the full network, ε the true noise, and u the outputs of residual blocks
    and transformers; the first two are means over the latent's numbers.
    """

    teacher: LatentDiffusion
    """The full model, left as it was found."""
    student: LatentDiffusion
    """Its denoiser is trained in place."""
    rows: CalibrationStates
    settings: HealingSettings
    weights: Weights
    """Leaf tensors that are trained, by names that stay the same from run to run."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Of the learning rate, by the names of weights that take less than all of it."""
    at_step: Callable[[int], object] = lambda step: None
    """Called before each step; what it sets must follow from the step and the weights."""
    penalty: Penalty | None = None

    def __call__(self, run: Run) -> dict[str, Any]:
        """Trains, and returns plain figures of it; a run that was killed goes on and gives the same bits.

        Raises `IntaglioError` for a loss that is not finite.
        """
        settings = self.settings
        self.student.denoiser.requires_grad_(False)
        trainer = Trainer(self.weights, settings.optimiser, shares=self.shares)
        checkpoints = Checkpoints(run, every_s=CHECKPOINT_EVERY_S, streams=(STATE,), state=STATE)
        checkpoints.restore(trainer)
        advice = f"try a learning rate below {settings.learning_rate:g}"
        about: dict[str, Any] = {"advice": advice, "label": STATE, "stream": STATE, "timed": True}
        with self.teacher.frozen():
            train(trainer, self._loss, run, checkpoints, **about)
        trainer.export()
        self.student.denoiser.requires_grad_(True)
        losses = trainer.losses[-max(1, len(trainer.losses) // 10) :]
        seconds = sum(row.get("cpu_s", 0.0) for row in run.logged(STATE))
        calls = teacher_calls(settings, len(self.rows))
        return {"steps": settings.steps, "teacher_calls": calls, "cpu_s": seconds, "loss": float(losses.mean())}

    def _loss(self, step: int) -> StepLoss:
        self.at_step(step)
        settings, total = self.settings, 0.0
        places = batch_at(range(len(self.rows)), step, settings.batch, settings.seed, STATE)
        size = settings.micro_batch or settings.batch
        for first in range(0, settings.batch, size):
            loss = self._errors(places[first : first + size]).sum() / settings.batch
            loss.backward()
            total += float(loss.detach())
        if self.penalty is None:
            return StepLoss(total)
        further = self.penalty()
        further.backward()
        return StepLoss(total + float(further.detach()), beside={"penalty": float(further.detach())})

    def _errors(self, places: Sequence[int]) -> Float[Tensor, " n"]:
        """The loss of each of these rows."""
        settings, batch = self.settings, self._asked.take(places)
        theirs, wanted = list[Tensor](), None
        if settings.features:
            with torch.no_grad(), unit_outputs(self.teacher.denoiser) as theirs:
                wanted = self.teacher.predict(*batch)
        elif settings.output:
            wanted = self._answers[places].to(self.student.device)
        with unit_outputs(self.student.denoiser) as mine:
            found = self.student.predict(*batch)
        loss = torch.zeros(len(places), device=found.device)
        if settings.output and wanted is not None:
            loss = loss + settings.output * (found - wanted).square().flatten(1).mean(1)
        if settings.task and self.rows.noise is not None:
            noise = self.rows.noise[places].to(found.device)
            loss = loss + settings.task * (found - noise).square().flatten(1).mean(1)
        if settings.features:
            loss = loss + settings.features * feature_errors(mine, theirs)
        return loss

    @cached_property
    def _asked(self) -> EmbeddedRows:
        return EmbeddedRows(self.teacher, self.rows)

    @cached_property
    @torch.no_grad()
    def _answers(self) -> Float[Tensor, "m c h w"]:
        """The full network's prediction for every row, asked once."""
        size = self.settings.micro_batch or self.settings.batch
        places = torch.arange(len(self.rows)).split(size)
        return torch.cat([self.teacher.predict(*self._asked.take(part.tolist())).cpu() for part in places])


def teacher_calls(settings: HealingSettings, rows: int) -> int:
    """Rows that the full network is asked for: each once, or those of every step where features are compared."""
    if settings.features:
        return settings.steps * settings.batch
    return rows if settings.output else 0


@contextmanager
def unit_outputs(denoiser: nn.Module) -> Iterator[list[Tensor]]:
    """While the block runs, the list takes the outputs of residual blocks and transformers, in the order of calls."""
    found = list[Tensor]()

    def keep(module: nn.Module, given: Any, output: Any) -> None:
        found.append(output[0] if isinstance(output, tuple) else output)

    kinds = (ResnetBlock2D, RemovedResidual, Transformer2DModel)
    hooks = [one.register_forward_hook(keep) for one in denoiser.modules() if isinstance(one, kinds)]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def feature_errors(mine: Sequence[Tensor], theirs: Sequence[Tensor]) -> Float[Tensor, " n"]:
    """Of each row, the mean over units of |u_S - u_T|²/|u_T|²."""
    each = [
        (one - two).square().flatten(1).sum(1) / two.square().flatten(1).sum(1).clamp(min=1e-12)
        for one, two in zip(mine, theirs, strict=True)
    ]
    return torch.stack(each).mean(0)
