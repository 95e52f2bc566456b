"""Training of a network on simulated tables, resumed exactly."""

import math
import time
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from intaglio.causal.methods.sicl.networks.base import Network
from intaglio.causal.methods.sicl.networks.weights import network_of
from intaglio.causal.methods.sicl.training.batches import TrainingBatches
from intaglio.causal.methods.sicl.training.held_out import held_out_scores
from intaglio.causal.methods.sicl.training.settings import Teaching
from intaglio.errors import IntaglioError
from intaglio.learning.checkpoints import Keeper
from intaglio.learning.interrupt import held_interrupt
from intaglio.learning.learner import Learner
from intaglio.randomness import seed_32bit
from intaglio.runs.run import Run

CHECKPOINT_S = 60.0


@dataclass(frozen=True, eq=False)
class Taught:
    """A trained network and how it got there."""

    network: Network
    losses: Float64[Tensor, " steps"]
    settings: Teaching
    tables: int
    """That it saw, those that could not be used left out; 0 without a run."""
    cpu_s: float
    """CPU seconds of all steps; 0 without a run."""


def fresh(settings: Teaching) -> Network:
    """A network with random weights, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed_32bit(settings.seed, "weights"))
        return network_of(settings.network, settings.shape)


def teach(settings: Teaching, *, run: Run = Run.none(), checkpoint_every: int = 0) -> Taught:
    """Train a network from random weights; a killed run goes on and ends with the same bits on the same machine.

    Logs `train` (each loss, the rate, the gradient's norm, the tables) every step and `held-out` now and then. Raises
    `IntaglioError` where the loss is no longer finite.
    """
    network = fresh(settings)
    lessons = TrainingBatches(settings, settings.seed, settings.steps)
    learner = Learner(dict(network.named_parameters()), settings)
    keeper = Keeper(run, every_s=CHECKPOINT_S, every=checkpoint_every, streams=("train", "held-out"))
    keeper.restore(learner)
    with run.progress(settings.steps, "train", learner.step) as progress, held_interrupt() as interrupted:
        while learner.step < settings.steps:
            began = time.process_time()
            tables, truth = lessons(learner.step)
            parts = network.losses(tables, truth)
            loss = torch.stack(list(parts.values())).sum()
            loss.backward()
            norm, rate = learner.gradient_norm(), learner.rate()
            if not math.isfinite(float(loss.detach()) + float(norm)):
                keeper.keep(learner)
                raise IntaglioError(
                    f"The loss is not finite at step {learner.step + 1}: the state before it is saved; "
                    f"try a learning rate below {settings.learning_rate:g} or a longer warm-up."
                )
            learner.update(float(loss.detach()), norm)
            told = {name.replace(" ", "_"): float(value.detach()) for name, value in parts.items()}
            spent = time.process_time() - began
            run.log("train", learner.step, lr=rate, norm=float(norm), tables=len(truth.adjacency), cpu_s=spent, **told)
            if learner.step % settings.judge_every == 0 or learner.step == settings.steps:
                with learner.exported():
                    run.log("held-out", learner.step, **held_out_scores(network, settings))
            keeper.keep_when_due(learner)
            progress.advance(loss=float(loss.detach()))
            if interrupted():
                keeper.keep(learner)
                raise KeyboardInterrupt
    keeper.keep(learner)  # what comes after, such as a calibration, may be killed too
    learner.export()
    rows = run.logged("train") if run.folder else []
    seen, spent = (sum(row[name] for row in rows) for name in ("tables", "cpu_s"))
    return Taught(network.eval().requires_grad_(False), learner.losses, settings, int(seen), float(spent))
