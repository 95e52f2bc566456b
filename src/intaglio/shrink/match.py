"""Matching: new modules of a smaller network learn to give what those in their places give, before all is healed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import StepLoss, train
from intaglio.learning.mixed_precision import computing_in
from intaglio.learning.precision import Precision
from intaglio.learning.settings import OptimizerSettings
from intaglio.learning.step_randomness import batch_at
from intaglio.learning.trainer import Trainer
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.shrink.calibration_states import CalibrationStates
from intaglio.shrink.embedded_rows import EmbeddedRows

STATE = "matching"
"""Name of the run's state, of its log and of its progress."""
CHECKPOINT_EVERY_S = 60.0
"""Seconds between two saved states."""


@dataclass(frozen=True, eq=False)
class Matching:
    """A training of modules to give the outputs of others on the inputs that these have in the full network.

    The loss of a row is the mean over modules of |y - y_T|²/|y_T|².
    """

    teacher: LatentDiffusion
    """The full model, left as it was found."""
    modules: Mapping[str, nn.Module]
    """The new modules, by the names of those that they are to match; all their weights are trained in place."""
    rows: CalibrationStates
    settings: OptimizerSettings
    batch: int
    micro_batch: int | None
    seed: int
    at_step: Callable[[int], object] = lambda step: None
    """Called before each step; what it sets must follow from the step and the weights."""
    precision: Precision = "float32"
    """Arithmetic of the full network and the modules."""

    def __call__(self, run: Run) -> dict[str, float]:
        """Trains; the mean losses of the first and of the last tenth of the steps.

        Raises `IntaglioError` for a loss that is not finite.
        """
        weights = {
            f"{scope}.{name}": weight
            for scope, module in self.modules.items()
            for name, weight in module.named_parameters()
        }
        trainer = Trainer(weights, self.settings, precision=self.precision)
        checkpoints = Checkpoints(run, every_s=CHECKPOINT_EVERY_S, streams=(STATE,), state=STATE)
        checkpoints.restore(trainer)
        networks = [self.teacher.denoiser, *self.modules.values()]
        with self.teacher.frozen(), computing_in(self.precision, networks):
            train(trainer, self._loss, run, checkpoints, label=STATE, stream=STATE)
        trainer.export()
        tenth = max(1, len(trainer.losses) // 10)
        first, last = trainer.losses[:tenth].mean(), trainer.losses[-tenth:].mean()
        return {"first_loss": float(first), "loss": float(last)}

    def _loss(self, step: int) -> StepLoss:
        self.at_step(step)
        places, total = batch_at(range(len(self.rows)), step, self.batch, self.seed, STATE), 0.0
        size = self.micro_batch or self.batch
        for first in range(0, self.batch, size):
            loss = self._errors(places[first : first + size]).sum() / self.batch
            loss.backward()
            total += float(loss.detach())
        return StepLoss(total)

    def _errors(self, places: Sequence[int]) -> Float[Tensor, " n"]:
        batch = self._asked.take(places)
        with torch.no_grad(), seen(self.teacher.denoiser, self.modules) as calls:
            self.teacher.predict(*batch)
        errors = []
        for scope, module in self.modules.items():
            given, wanted = calls[scope]
            apart = (module(given) - wanted).square().flatten(1).sum(1)
            errors.append(apart / wanted.square().flatten(1).sum(1).clamp(min=1e-12))
        return torch.stack(errors).mean(0)

    @cached_property
    def _asked(self) -> EmbeddedRows:
        return EmbeddedRows(self.teacher, self.rows)


@contextmanager
def seen(denoiser: nn.Module, scopes: Mapping[str, Any]) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """While the block runs, the mapping takes the first input and the output of each of these modules, as float32."""
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def noted(scope: str) -> Any:
        def note(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any], output: Tensor) -> None:
            found[scope] = ((given[0] if given else named["hidden_states"]).float(), output.float())

        return note

    hooks = [denoiser.get_submodule(one).register_forward_hook(noted(one), with_kwargs=True) for one in scopes]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
