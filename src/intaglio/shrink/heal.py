"""Healing: a smaller network learns to answer as the full one does, on calibration rows."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from jaxtyping import Float
from torch import Tensor, nn

from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import StepLoss, train
from intaglio.learning.step_randomness import batch_at
from intaglio.learning.trainer import Trainer, Weights
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.removed_branches import RemovedResidual
from intaglio.runs.run import Run
from intaglio.shrink.calibration_states import CalibrationBatch, CalibrationStates
from intaglio.shrink.healing_settings import HealingSettings
from intaglio.shrink.stage_directions import directed_errors, principal_directions, stages

STATE = "healing"
"""Name of the run's state, of its log and of its progress."""
CHECKPOINT_EVERY_S = 60.0
"""Seconds between two saved states."""
Penalty = Callable[[], Float[Tensor, ""]]
"""A further term of the loss, of the weights alone."""


@dataclass(frozen=True, eq=False)
class Healing:
    """A training of some weights of a smaller denoiser.

    The loss of a row is `task`·|ε_S - ε|² + `output`·|ε_S - ε_T|² + `features`·mean_u |u_S - u_T|²/|u_T|² +
    `principal`·mean_v |(v_S - v_T)K_v|², with ε_S and ε_T the predictions of the smaller and of the full network, ε the
    true noise, u the outputs of residual blocks and transformers, v those of stages, and K_v the principal directions
    of v_T on the first batch; the first two are means over the latent's numbers.
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
    after_backward: Callable[[int], Mapping[str, int]] = lambda step: {}
    """Called with the gradients of each step, before the update, where the loss is finite; gives what is logged."""
    kept: Mapping[str, Tensor] = field(default_factory=dict)
    """Tensors that `after_backward` changes in place, by names as those of the weights: a killed run has them again."""

    def __call__(self, run: Run) -> dict[str, Any]:
        """Trains, and returns plain figures of it; a run that was killed goes on and gives the same bits.

        Raises `IntaglioError` for a loss that is not finite.
        """
        settings = self.settings
        self.student.denoiser.requires_grad_(False)
        trainer = Trainer(self.weights, settings.optimiser, shares=self.shares, kept=self.kept)
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
        beside: dict[str, float | int] = {}
        if self.penalty is not None:
            further = self.penalty()
            further.backward()
            beside["penalty"] = float(further.detach())
        total += beside.get("penalty", 0.0)
        if math.isfinite(total):
            beside |= self.after_backward(step)
        return StepLoss(total, beside=beside)

    def _errors(self, places: Sequence[int]) -> Float[Tensor, " n"]:
        """The loss of each of these rows."""
        settings, batch = self.settings, self._batch(places)
        theirs = wanted = None
        if settings.asks_each_step:
            with torch.no_grad(), _heard(self.teacher.denoiser) as theirs:
                wanted = self.teacher.predict(*batch)
        elif settings.output:
            wanted = self._answers[places].to(self.student.device)
        with _heard(self.student.denoiser) as mine:
            found = self.student.predict(*batch)
        loss = torch.zeros(len(places), device=found.device)
        if settings.output and wanted is not None:
            loss = loss + settings.output * (found - wanted).square().flatten(1).mean(1)
        if settings.task and self.rows.noise is not None:
            noise = self.rows.noise[places].to(found.device)
            loss = loss + settings.task * (found - noise).square().flatten(1).mean(1)
        if settings.features and theirs is not None:
            loss = loss + settings.features * feature_errors(mine.units, theirs.units)
        if settings.principal and theirs is not None:
            loss = loss + settings.principal * directed_errors(mine.stages, theirs.stages, self._directions)
        return loss

    def _batch(self, places: Sequence[int]) -> CalibrationBatch:
        rows, device = self.rows, self.student.device
        given = self._embedded[rows.places[places].tolist()]
        if self.student.sampling.guidance == "input":
            given = given.under(rows.scale)
        return CalibrationBatch(rows.latents[places].to(device), rows.t[places].to(device), given)

    @cached_property
    @torch.no_grad()
    def _embedded(self) -> Conditioning:
        return self.teacher.embed(list(self.rows.texts))

    @cached_property
    @torch.no_grad()
    def _directions(self) -> list[Float[Tensor, "c k"]]:
        """Of the full network's outputs of each stage, on the rows of the first step."""
        settings = self.settings
        places = batch_at(range(len(self.rows)), 0, settings.batch, settings.seed, STATE)
        with outputs_of(stages(self.teacher.denoiser)) as found:
            self.teacher.predict(*self._batch(places))
        return [principal_directions(one) for one in found]

    @cached_property
    @torch.no_grad()
    def _answers(self) -> Float[Tensor, "m c h w"]:
        """The full network's prediction for every row, asked once."""
        size = self.settings.micro_batch or self.settings.batch
        places = torch.arange(len(self.rows)).split(size)
        return torch.cat([self.teacher.predict(*self._batch(part.tolist())).cpu() for part in places])


def teacher_calls(settings: HealingSettings, rows: int) -> int:
    """Rows that the full network is asked for: each once, or those of every step where features are compared."""
    if settings.asks_each_step:
        return settings.steps * settings.batch
    return rows if settings.output else 0


class _Heard(NamedTuple):
    """Outputs of a network's modules, in the order of calls."""

    units: list[Tensor]
    stages: list[Tensor]


@contextmanager
def _heard(denoiser: nn.Module) -> Iterator[_Heard]:
    """While the block runs, the lists take the outputs of residual blocks and transformers, and of stages."""
    kinds = (ResnetBlock2D, RemovedResidual, Transformer2DModel)
    units = (one for one in denoiser.modules() if isinstance(one, kinds))
    with outputs_of(units) as of_units, outputs_of(stages(denoiser)) as of_stages:
        yield _Heard(of_units, of_stages)


@contextmanager
def outputs_of(modules: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """While the block runs, the list takes the outputs of these modules, in the order of calls."""
    found = list[Tensor]()

    def keep(module: nn.Module, given: Any, output: Any) -> None:
        found.append(output[0] if isinstance(output, tuple) else output)

    hooks = [one.register_forward_hook(keep) for one in modules]
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
