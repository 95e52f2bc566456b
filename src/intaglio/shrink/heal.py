"""Healing: a smaller network learns to answer as the full one does, on calibration rows."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from intaglio.learning.mixed_precision import computing_in
from intaglio.learning.recomputing import recomputing
from intaglio.learning.step_randomness import batch_at
from intaglio.learning.trainer import Trainer, Weights
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.removed_branches import RemovedResidual
from intaglio.models.module_outputs import outputs_of
from intaglio.randomness import generator
from intaglio.runs.run import Run
from intaglio.shrink.calibration_states import CalibrationBatch, CalibrationStates
from intaglio.shrink.embedded_rows import EmbeddedRows
from intaglio.shrink.healing_settings import HEALING, HealingSettings
from intaglio.shrink.row_weights import bias_weights, last_features, variances
from intaglio.shrink.stage_directions import directed_errors, principal_directions, stages

STATE = HEALING
"""Name of the run's state, of its log and of its progress."""
CHECKPOINT_EVERY_S = 60.0
"""Seconds between two saved states."""
Penalty = Callable[[], Float[Tensor, ""]]
"""A further term of the loss, of the weights alone."""
RowError = Callable[[CalibrationBatch, Tensor, Tensor], Float[Tensor, " n"]]
"""(rows, prediction of the smaller network, of the full one) to a further term of each row's loss."""


@dataclass(frozen=True, eq=False)
class Healing:
    """A training of some weights of a smaller denoiser.

    The loss of a row is `task`·|ε_S - ε|² + `output`·|ε_S - ε_T|² + `features`·mean_u |u_S - u_T|²/|u_T|² +
    `principal`·mean_v |(v_S - v_T)K_v|², with ε_S and ε_T the predictions of the smaller and of the full network, ε the
    true noise, u the outputs of residual blocks and transformers, v those of stages, and K_v the principal directions
    of v_T on the first batch; the first two are means over the latent's numbers; and what `further` adds. The
    loss of a step is the mean over its rows, weighed where the setting `loss` is bias (`row_weights`), and `penalty` on
    top.
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
    """Factors on the learning rate, in [0, 1], by the names of the weights that have one."""
    at_step: Callable[[int], object] = lambda step: None
    """Called before each step; what it sets must follow from the step and the weights."""
    penalty: Penalty | None = None
    after_backward: Callable[[int], Mapping[str, int]] = lambda step: {}
    """Called with the gradients of each step, before the update, where the loss is finite; gives what is logged."""
    kept: Mapping[str, Tensor] = field(default_factory=dict)
    """Tensors that `after_backward` changes in place, by names as those of the weights: a killed run has them again."""
    further: Mapping[str, RowError] = field(default_factory=dict)
    """Terms of each row's loss beside those above, by name."""

    def __call__(self, run: Run) -> dict[str, Any]:
        """Trains, and returns plain figures of it; a run that was killed goes on and gives the same bits.

        Raises `IntaglioError` for a loss that is not finite.
        """
        settings = self.settings
        self.student.denoiser.requires_grad_(False)
        trainer = Trainer(
            self.weights, settings.optimiser, shares=self.shares, kept=self.kept, precision=settings.precision
        )
        checkpoints = Checkpoints(run, every_s=CHECKPOINT_EVERY_S, streams=(STATE,), state=STATE)
        checkpoints.restore(trainer)
        advice = f"try a learning rate below {settings.learning_rate:g}"
        about: dict[str, Any] = {"advice": advice, "label": STATE, "stream": STATE, "timed": True}
        networks = [self.teacher.denoiser, self.student.denoiser]
        try:
            again = recomputing(settings.gradient_checkpointing, [self.student.denoiser])
            with self.teacher.frozen(), computing_in(settings.precision, networks), again:
                train(trainer, self._loss, run, checkpoints, **about)
            trainer.export()
        finally:
            self.student.denoiser.requires_grad_(True)
        losses = trainer.losses[-max(1, len(trainer.losses) // 10) :]
        seconds = sum(row.get("cpu_s", 0.0) for row in run.logged(STATE))
        calls = teacher_calls(settings, len(self.rows), bool(self.further))
        return {"steps": settings.steps, "teacher_calls": calls, "cpu_s": seconds, "loss": float(losses.mean())}

    def _loss(self, step: int) -> StepLoss:
        self.at_step(step)
        settings, total = self.settings, 0.0
        places = batch_at(range(len(self.rows)), step, settings.batch, settings.seed, STATE)
        size = settings.micro_batch or settings.batch
        counted, terms = self._row_weights(step, places, size), dict[str, float]()
        for first in range(0, settings.batch, size):
            errors = {name: one.float() for name, one in self._errors(places[first : first + size]).items()}
            weights = counted[first : first + size]
            loss = torch.stack([one @ weights for one in errors.values()]).sum() / settings.batch
            loss.backward()
            total += float(loss.detach())
            for name, one in errors.items():
                terms[name] = terms.get(name, 0.0) + float(one.detach() @ weights) / settings.batch
        beside: dict[str, float | int] = {**terms} if len(terms) > 1 else {}
        if self.penalty is not None:
            penalty = self.penalty()
            penalty.backward()
            beside["penalty"] = float(penalty.detach())
        total += beside.get("penalty", 0.0)
        if math.isfinite(total):
            beside |= self.after_backward(step)
        return StepLoss(total, beside=beside)

    def _errors(self, places: Sequence[int]) -> dict[str, Float[Tensor, " n"]]:
        """The terms of the loss of each of these rows."""
        settings, batch = self.settings, self._asked.take(places)
        theirs = wanted = None
        if settings.asks_each_step:
            with torch.no_grad(), _heard(self.teacher.denoiser) as theirs:
                wanted = self.teacher.predict(*batch)
        elif settings.output or self.further:
            wanted = self._answers[places].to(self.student.device)
        with _heard(self.student.denoiser) as mine:
            found = self.student.predict(*batch)
        errors = {}
        if settings.output and wanted is not None:
            errors["output"] = settings.output * (found - wanted).square().flatten(1).mean(1)
        if settings.task and self.rows.noise is not None:
            noise = self.rows.noise[places].to(found.device)
            errors["task"] = settings.task * (found - noise).square().flatten(1).mean(1)
        if settings.features and theirs is not None:
            errors["features"] = settings.features * feature_errors(mine.units, theirs.units)
        if settings.principal and theirs is not None:
            directed = directed_errors(mine.stages, theirs.stages, self._directions)
            errors["principal"] = settings.principal * directed
        if wanted is not None:
            errors |= {name: error(batch, found, wanted) for name, error in self.further.items()}
        return errors

    @torch.no_grad()
    def _row_weights(self, step: int, places: Sequence[int], size: int) -> Float[Tensor, " n"]:
        """Of each row of a step, `size` at once: how much its loss counts."""
        settings, device = self.settings, self.student.device
        if settings.loss == "plain":
            return torch.ones(len(places), device=device)
        found = []
        for first in range(0, len(places), size):
            with last_features(self.student.denoiser) as features:
                self.student.predict(*self._asked.take(places[first : first + size]))
            found.append(variances(features[0]))
        weights = bias_weights(torch.cat(found), self.rows.t[places].to(device))
        if settings.loss == "shuffled":
            order = torch.randperm(len(places), generator=generator(settings.seed, "shuffled weights", step))
            weights = weights[order.to(device)]
        return weights

    @cached_property
    def _asked(self) -> EmbeddedRows:
        return EmbeddedRows(self.teacher, self.rows)

    @cached_property
    @torch.no_grad()
    def _directions(self) -> list[Float[Tensor, "c k"]]:
        """Of the full network's outputs of each stage, on the rows of the first step."""
        settings = self.settings
        places = batch_at(range(len(self.rows)), 0, settings.batch, settings.seed, STATE)
        size, parts = settings.micro_batch or settings.batch, list[list[Tensor]]()
        for first in range(0, settings.batch, size):
            with outputs_of(stages(self.teacher.denoiser)) as found:
                self.teacher.predict(*self._asked.take(places[first : first + size]))
            parts.append(found)
        return [principal_directions(torch.cat(each)) for each in zip(*parts, strict=True)]

    @cached_property
    @torch.no_grad()
    def _answers(self) -> Float[Tensor, "m c h w"]:
        """The full network's prediction for every row, asked once."""
        size = self.settings.micro_batch or self.settings.batch
        places = torch.arange(len(self.rows)).split(size)
        return torch.cat([self.teacher.predict(*self._asked.take(part.tolist())).cpu() for part in places])


def teacher_calls(settings: HealingSettings, rows: int, further: bool = False) -> int:
    """Rows that the full network is asked for: each once, or those of every step where features are compared."""
    if settings.asks_each_step:
        return settings.steps * settings.batch
    return rows if settings.output or further else 0


class _Heard(NamedTuple):
    """Outputs of a network's modules, in the order of calls."""

    units: list[Tensor]
    stages: list[Tensor]


@contextmanager
def _heard(denoiser: nn.Module) -> Iterator[_Heard]:
    """While the block runs, the lists take the outputs of residual blocks and transformers, and of stages.

    In a denoiser that has none of these, the units are the stages.
    """
    kinds = (ResnetBlock2D, RemovedResidual, Transformer2DModel)
    units = [one for one in denoiser.modules() if isinstance(one, kinds)] or stages(denoiser)
    with outputs_of(units) as of_units, outputs_of(stages(denoiser)) as of_stages:
        yield _Heard(of_units, of_stages)


def feature_errors(mine: Sequence[Tensor], theirs: Sequence[Tensor]) -> Float[Tensor, " n"]:
    """Of each row, the mean over units of |u_S - u_T|²/|u_T|²."""
    each = [
        (one - two).square().flatten(1).sum(1) / two.square().flatten(1).sum(1).clamp(min=1e-12)
        for one, two in zip(mine, theirs, strict=True)
    ]
    return torch.stack(each).mean(0)
