"""The loop of every training: gradient, update, log, watchers, saved state, and Ctrl-C at the end of a step.

A training gives an objective, which is a pure function of the weights and the step, and lets `train` do the rest:

    def objective(step: int) -> StepLoss:
        return backward(loss_of(batches(step)))

    trainer = Trainer(dict(network.named_parameters()), settings)
    checkpoints = Checkpoints(run, every_s=30.0)
    checkpoints.restore(trainer)
    train(trainer, objective, run, checkpoints)
    trainer.export()

A run that was killed goes on from its last saved state and ends with the same bits, on the same machine with the same
number of threads.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from intaglio.errors import IntaglioError
from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.interrupt import held_interrupt
from intaglio.learning.sharing_processes import ALONE, Processes
from intaglio.learning.trainer import Trainer
from intaglio.runs.run import Run


@dataclass(frozen=True)
class StepLoss:
    """The loss of one step, whose gradients were added to the weights' own."""

    value: float
    parts: Mapping[str, float] = field(default_factory=dict)
    """Terms of the objective by name, which are logged, and refused like `value` where they are not finite."""
    beside: Mapping[str, float | int] = field(default_factory=dict)
    """Further numbers that are logged, whatever they are."""


Objective = Callable[[int], StepLoss]
"""The loss of step k, counted from 0, and its gradients: a pure function of (weights, k)."""
Watcher = Callable[[Trainer, StepLoss], object]
"""Called after every step, with the trainer at the next one; reads the weights and changes none."""


def backward(loss: Float[Tensor, ""], **beside: float | int) -> StepLoss:
    """A loss with its gradients added to the weights' own, and numbers to log beside it."""
    loss.backward()
    return StepLoss(float(loss.detach()), beside=beside)


def train(
    trainer: Trainer,
    objective: Objective,
    run: Run,
    checkpoints: Checkpoints,
    *,
    watchers: Sequence[Watcher] = (),
    stopped: Callable[[], bool] = lambda: False,
    may_skip: bool = False,
    timed: bool = False,
    advice: str = "try a lower learning rate",
    label: str = "train",
    stream: str = "train",
    processes: Processes = ALONE,
) -> None:
    """Make the updates that are left, from the trainer's step to its settings' last.

    Logs every step: loss, lr (learning rate), gradient_norm (before clipping), and the loss's own numbers.
    Ctrl-C waits for the end of a step and saves the state; the last state is saved as well.

    Args:
        trainer: restored already.
        objective: the loss of a step and its gradients.
        run: takes logs, warnings and progress.
        checkpoints: of the same run.
        watchers: called in their order after every step, before the state is saved.
        stopped: whether to end before all steps are made; asked before every step.
        may_skip: leave out the first step whose loss or gradient is not finite, with a warning, and go on at half the
            learning rate.
        timed: log cpu_s as well, the processor seconds of the step. No other logged number differs from run to run.
        advice: remedies for a loss that is not finite, which end the error's sentence.
        label: of the progress.
        stream: the log of the steps.
        processes: that share the steps; the objective of each leaves the gradients of the whole batch, and all stop
            together.

    Raises:
        IntaglioError: the loss or the gradient is not finite; the state before it is saved.
        KeyboardInterrupt: Ctrl-C, after the state was saved.
    """
    steps = trainer.settings.steps
    with run.progress(steps, label, trainer.step) as progress, held_interrupt() as interrupted:
        while trainer.step < steps and not processes.any(stopped()):
            began = time.process_time()
            loss = _asked(objective, trainer)
            norm, rate = trainer.gradient_norm(), trainer.rate()
            if math.isfinite(sum(loss.parts.values(), loss.value) + float(norm)):
                trainer.update(loss.value, norm)
                row = {"loss": loss.value, "lr": rate, "gradient_norm": float(norm), **loss.parts, **loss.beside}
                run.log(stream, trainer.step, **row, **({"cpu_s": time.process_time() - began} if timed else {}))
            elif may_skip and not trainer.halved:
                trainer.skip()
                run.warn(
                    f"the loss was not finite at step {trainer.step}: it is left out, and the rate halved from there"
                )
            else:
                checkpoints.save(trainer)
                raise IntaglioError(
                    f"The loss is not finite at step {trainer.step + 1}: the state before it is saved; {advice}."
                )
            for watcher in watchers:
                watcher(trainer, loss)
            checkpoints.save_when_due(trainer)
            if processes.any(interrupted()):
                checkpoints.save(trainer)
                raise KeyboardInterrupt
            progress.advance(loss=loss.value)
    checkpoints.save(trainer)


def _asked(objective: Objective, trainer: Trainer) -> StepLoss:
    """The loss of the trainer's next step, with its gradients; in float16 by scaled losses."""
    if trainer.scale is None:
        return objective(trainer.step)
    return trainer.scale.step(lambda: objective(trainer.step), trainer.leaves, trainer.drop_gradients)
