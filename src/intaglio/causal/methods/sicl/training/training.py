"""Training of a network on simulated tables, resumed exactly."""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float64
from torch import Tensor

from intaglio.causal.methods.sicl.networks.base import Network
from intaglio.causal.methods.sicl.networks.weights import network_of
from intaglio.causal.methods.sicl.training.batches import TrainingBatches
from intaglio.causal.methods.sicl.training.held_out import held_out_scores
from intaglio.causal.methods.sicl.training.settings import SiCLTraining
from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import StepLoss, backward, train
from intaglio.learning.trainer import Trainer
from intaglio.randomness import first_weights
from intaglio.runs.run import Run

CHECKPOINT_S = 60.0
"""Seconds between two saved states."""


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """A trained network, with the course of its training."""

    network: Network
    losses: Float64[Tensor, " steps"]
    """Sum of the heads' losses, of every step."""
    settings: SiCLTraining
    tables: int
    """Tables it was trained on, those that could not be used left out; 0 without a run."""
    cpu_s: float
    """Processor seconds of all steps; 0 without a run."""


def fresh_network(settings: SiCLTraining) -> Network:
    """A network with random weights, the same for the same seed."""
    with first_weights(settings.seed, "weights"):
        return network_of(settings.network, settings.shape)


def train_network(settings: SiCLTraining, *, run: Run = Run.none(), checkpoint_every: int = 0) -> TrainingResult:
    """Train a network from random weights; a killed run goes on and ends with the same bits on the same machine.

    Logs `train` (each loss, the rate, the gradient's norm, the tables) every step and `held-out` every `judge_every`
    steps. Raises `IntaglioError` where the loss is no longer finite.
    """
    network = fresh_network(settings)
    trainer = Trainer(dict(network.named_parameters()), settings)
    checkpoints = Checkpoints(run, every_s=CHECKPOINT_S, every=checkpoint_every, streams=("train", "held-out"))
    checkpoints.restore(trainer)

    def judge_when_due(trainer: Trainer, _: StepLoss) -> None:
        if trainer.step % settings.judge_every == 0 or trainer.step == settings.steps:
            with trainer.exported():
                run.log("held-out", trainer.step, **held_out_scores(network, settings))

    train(
        trainer,
        partial(step_objective, network, TrainingBatches(settings, settings.seed, settings.steps)),
        run,
        checkpoints,
        watchers=(judge_when_due,),
        timed=True,
        advice=f"try a learning rate below {settings.learning_rate:g} or a longer warm-up",
    )
    trainer.export()
    rows = run.logged("train") if run.folder else []
    tables, cpu_s = (sum(row[name] for row in rows) for name in ("tables", "cpu_s"))
    return TrainingResult(network.eval().requires_grad_(False), trainer.losses, settings, int(tables), float(cpu_s))


def step_objective(network: Network, batches: TrainingBatches, step: int) -> StepLoss:
    """The sum of the heads' losses; each is logged beside it, and the number of tables."""
    tables, truth = batches(step)
    losses = network.losses(tables, truth)
    heads = {name.replace(" ", "_"): float(value.detach()) for name, value in losses.items()}
    return backward(torch.stack(list(losses.values())).sum(), tables=len(truth.adjacency), **heads)
