"""Transfer between environments: the contract of a method, its stages on a held-out one, and checks of it."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Generator, Tensor

from intaglio.causal.transfer.environment_rows import EnvironmentRows, HeldOutTask, held_out
from intaglio.causal.transfer.latent_agreement import weak_mcc
from intaglio.causal.transfer.result import LABELLED, REFITTED, ZERO, LeftOut, TransferPredictions
from intaglio.causal.transfer.transfer_network import RowBatch, Rows, TransferNetwork
from intaglio.errors import require
from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import StepLoss, backward, train
from intaglio.learning.settings import CosineSettings
from intaglio.learning.step_randomness import batch_at
from intaglio.learning.trainer import Trainer
from intaglio.randomness import generator
from intaglio.runs.run import Run
from intaglio.verbs import FileName

CHECKPOINT_EVERY_S = 20.0
AGAIN = "again"
"""Name of the training with another seed."""
StageLoss = Callable[[int, Generator], Tensor]
"""Step and noise to the loss."""


@dataclass(frozen=True, kw_only=True)
class EnvironmentTransfer(ABC):
    """A way to predict classes in an environment whose rows were not learnt from.

    Three stages: zero-shot, from the known environments alone; refitted, with the target's rows but none of their
    outcomes, where the method has a use for them; labelled, with the outcomes of some. Each known environment is held
    out in turn as well, and where the method finds latent causes a training with another seed tells whether these are
    the same.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """The prediction in words, as the end of a sentence that begins "A prediction is"."""
    refits: ClassVar[str] = ""
    """Changed by the target's rows without their outcomes, in words; empty for nothing."""

    labelled: int = 0
    """Rows of the target whose outcomes are learnt from in the last stage, from 0, drawn of those that have one."""
    updates: int = 1000
    """Steps of AdamW on the known environments, from 1."""
    refit_updates: int = 1000
    """Steps on the target's rows, and as many again with outcomes, from 1."""
    batch: int = 128
    """Rows of a step, from 2."""
    rate: float = 0.005
    """Learning rate at first, above 0; it falls along half a cosine."""
    hidden: int = 32
    """Numbers between the ends of each network, beside its linear part, 0 to 1024; 0 leaves the linear part alone."""
    checks: bool = True
    """Whether each known environment is held out in turn, and latent causes are learnt twice."""
    seed: int = 0
    """Of weights, batches and noise, from 0."""

    def __post_init__(self) -> None:
        require(self.labelled >= 0, f"labelled must be 0 or more, not {self.labelled}")
        require(self.updates >= 1, f"updates must be at least 1, not {self.updates}")
        require(self.refit_updates >= 1, f"refit_updates must be at least 1, not {self.refit_updates}")
        require(self.batch >= 2, f"batch must be at least 2, not {self.batch}")
        require(0 < self.rate < math.inf, f"rate must be above 0, not {self.rate}")
        require(0 <= self.hidden <= 1024, f"hidden must be 0 to 1024, not {self.hidden}")
        require(0 <= self.seed < 2**62, f"seed must be 0 to 2**62 - 1, not {self.seed}")

    @abstractmethod
    def network(self, inputs: int, classes: int, environments: int) -> TransferNetwork:
        """A new network for rows of so many numbers, its first weights a function of the seed."""

    def __call__(self, rows: EnvironmentRows, target: str, *, run: Run = Run.none()) -> TransferPredictions:
        """Predictions of the target's rows.

        Args:
            rows: of the target and of two other environments or more.
            target: the environment that is held out.
            run: progress and states; a killed call goes on from the last state.

        Raises:
            BadInput: see `held_out`; and for fewer known outcomes of the target than are to be learnt from.
            IntaglioError: for a loss that is not finite.
        """
        task = held_out(rows, target)
        taught = task.labelled(self.labelled, self.seed)
        network = self.trained(task, run)
        stages = {ZERO: _asked(network, task.target)}
        found = network.latents(task.rows.features)
        if weights := network.refit_weights():
            self._stage(network, weights, self._refit(network, task), self.refit_updates, REFITTED, run)
            stages[REFITTED] = _asked(network, task.target)
        if len(taught):
            loss = self._teach(network, task, taught)
            self._stage(network, network.labelled_weights(), loss, self.refit_updates, LABELLED, run)
            stages[LABELLED] = _asked(network, task.target)
        agreement = dict[str, float]()
        if self.checks and found:
            other = replace(self, seed=self.seed + 1).trained(task, run, AGAIN).latents(task.rows.features)
            agreement = {name: weak_mcc(_array(one), _array(other[name])) for name, one in found.items()}
        labelled = np.zeros(len(task.names), dtype=bool)
        labelled[taught] = True
        return TransferPredictions(
            method=self.name,
            reading=self.reading,
            refits=self.refits,
            target=target,
            names=task.names,
            environments=task.environments,
            classes=task.classes,
            common=task.common,
            agreement=agreement,
            truth=task.truth,
            labelled=labelled,
            stages=stages,
            left_out=self._left_out(rows.without(target), task.environments, run),
        )

    def trained(self, task: HeldOutTask, run: Run = Run.none(), stage: str = ZERO) -> TransferNetwork:
        """The network that has learnt from the known environments."""
        network = self.network(task.rows.features.shape[1], len(task.classes), len(task.environments))

        def loss(step: int, noise: Generator) -> Tensor:
            return network.loss(self.known(task, step, stage), noise)

        names = [name for name, _ in network.named_parameters()]
        self._stage(network, names, loss, self.updates, stage, run)
        return network

    def known(self, task: HeldOutTask, step: int, stage: str) -> RowBatch:
        """The rows of the known environments that a step is given."""
        some = self._some(len(task.rows.labels), step, stage)
        return RowBatch(task.rows.features[some], task.rows.labels[some], _picked(task.rows, some))

    def forget(self, task: HeldOutTask, run: Run) -> None:
        """Drops the states of all stages."""
        for stage in (ZERO, REFITTED, LABELLED, AGAIN, *map(_turn, range(len(task.environments)))):
            run.drop_state(stage)

    def _refit(self, network: TransferNetwork, task: HeldOutTask) -> StageLoss:
        def loss(step: int, noise: Generator) -> Tensor:
            return network.refit_loss(
                self._unknown(task.target, step, REFITTED), self.known(task, step, REFITTED), noise
            )

        return loss

    def _teach(self, network: TransferNetwork, task: HeldOutTask, taught: ndarray) -> StageLoss:
        labelled = RowBatch(task.target[taught], torch.from_numpy(task.truth[taught]), None)

        def loss(step: int, noise: Generator) -> Tensor:
            target = self._unknown(task.target, step, LABELLED)
            return network.labelled_loss(labelled, target, self.known(task, step, LABELLED), noise)

        return loss

    def _left_out(self, rows: EnvironmentRows, environments: Sequence[str], run: Run) -> tuple[LeftOut, ...]:
        """Each environment from the others, where two or more are left."""
        found = []
        for number, environment in enumerate(environments if self.checks and len(environments) > 2 else ()):
            task = held_out(rows, environment)
            said = _asked(self.trained(task, run, _turn(number)), task.target).argmax(1)
            accuracy, common = float((said == task.truth).mean()), float((task.truth == task.common).mean())
            found.append(LeftOut(environment, len(task.names), accuracy, common))
        return tuple(found)

    def _stage(
        self, network: TransferNetwork, names: Sequence[str], loss: StageLoss, steps: int, stage: str, run: Run
    ) -> None:
        """Trains the named weights; those of a finished stage are read from its state."""
        weights: Mapping[str, Tensor] = {name: one for name, one in network.named_parameters() if name in set(names)}
        trainer = Trainer(weights, CosineSettings(steps=steps, learning_rate=self.rate, warmup=0))
        checkpoints = Checkpoints(run, every_s=CHECKPOINT_EVERY_S, streams=(stage,), state=stage)
        checkpoints.restore(trainer)

        def objective(step: int) -> StepLoss:
            return backward(loss(step, generator(self.seed, stage, step)))

        if trainer.step < steps:
            train(trainer, objective, run, checkpoints, label=stage, stream=stage)
        trainer.export()

    def _some(self, count: int, step: int, stage: str) -> list[int]:
        return batch_at(range(count), step, min(self.batch, count), self.seed, stage)

    def _unknown(self, target: Rows, step: int, stage: str) -> Float[Tensor, "b d"]:
        return target[self._some(len(target), step, f"{stage} target")]


def _turn(number: int) -> str:
    """Name of the training without the known environment of a number."""
    return f"without-{number}"


def _picked(rows: RowBatch, some: Sequence[int]) -> Tensor | None:
    return None if rows.environments is None else rows.environments[list(some)]


def _asked(network: TransferNetwork, features: Rows) -> Float[ndarray, "m c"]:
    return network.probabilities(features).double().numpy()


def _array(one: Tensor) -> Float[ndarray, "n k"]:
    return one.double().numpy()
