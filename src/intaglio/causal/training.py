"""Training of a network on simulated tables, resumed exactly."""

import math
import time
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from intaglio.causal.axial import Axial, AxialShape, NodeEdge
from intaglio.causal.curriculum import Curriculum, Lessons
from intaglio.causal.judging import judge
from intaglio.causal.light import Light, LightShape
from intaglio.causal.network import Network
from intaglio.errors import IntaglioError
from intaglio.learning.draws import seed_of
from intaglio.learning.interrupt import held_interrupt
from intaglio.learning.keeper import Keeper
from intaglio.learning.learner import Learner
from intaglio.runs.run import Run

Kind = Literal["light", "axial", "node-edge"]
CHECKPOINT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """The settings that decide a network's weights; a wrong value raises `ValueError`."""

    network: Kind = "light"
    """light: all heads in one pass, statistics of all rows; axial: SiCL's two networks as published; node-edge: each
    arrow by itself, the baseline."""
    light: LightShape = field(default_factory=LightShape)
    """The size of a light network."""
    axial: AxialShape = field(default_factory=lambda: AxialShape(width=32, heads=4, blocks=3))
    """The size of the encoder of the two others."""
    curriculum: Curriculum = field(default_factory=Curriculum)
    """What it is shown."""
    steps: int = 10_000
    """Updates of the weights."""
    learning_rate: float = 1e-3
    """Of AdamW, at its highest."""
    final_rate: float = 1e-5
    """Where the cosine ends."""
    warmup: int = 500
    """Steps over which the rate rises linearly; at most a tenth of all steps are taken."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Decay of AdamW's first and second moments, each in [0, 1)."""
    weight_decay: float = 0.01
    """AdamW's decoupled decay, as a fraction of the learning rate."""
    clip: float | None = 1.0
    """Largest norm of the gradient; None leaves it as it is."""
    ema: float | None = 0.999
    """Decay of the mean of the weights, which is what is kept; None keeps the last ones."""
    judge_every: int = 500
    """Steps between two measurements on tables that are never trained on."""
    seed: int = 0
    """Of the first weights and of all tables."""

    def __post_init__(self) -> None:
        for name in ("steps", "judge_every"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        _require(0 < self.learning_rate < math.inf, f"learning_rate must be above 0, not {self.learning_rate}")
        _require(
            0 <= self.final_rate <= self.learning_rate,
            f"final_rate must lie in 0..learning_rate ({self.learning_rate}), not {self.final_rate}",
        )
        _require(self.warmup >= 0, f"warmup must not be negative: {self.warmup}")
        _require(all(0 <= beta < 1 for beta in self.betas), f"betas must lie in [0, 1), not {self.betas}")
        _require(0 <= self.weight_decay < math.inf, f"weight_decay must not be negative: {self.weight_decay}")
        _require(self.clip is None or self.clip > 0, f"clip must be above 0, or None: {self.clip}")
        _require(self.ema is None or 0 < self.ema < 1, f"ema must lie between 0 and 1, or be None: {self.ema}")
        _require(self.seed >= 0, f"seed must not be negative: {self.seed}")

    def rate(self, step: int) -> float:
        """The learning rate of update `step`, counted from 0."""
        warmup = min(self.warmup, self.steps // 10)
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        done = (step - warmup) / max(1, self.steps - warmup)
        return self.final_rate + (self.learning_rate - self.final_rate) * 0.5 * (1.0 + math.cos(math.pi * done))


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise ValueError(sentence)


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
        torch.random.default_generator.manual_seed(seed_of(settings.seed, "weights"))
        if settings.network == "light":
            return Light(settings.light)
        return Axial(settings.axial) if settings.network == "axial" else NodeEdge(settings.axial)


def teach(settings: Teaching, *, run: Run = Run.none(), checkpoint_every: int = 0) -> Taught:
    """Train a network from random weights; a killed run goes on and ends with the same bits on the same machine.

    Logs `train` (each loss, the rate, the gradient's norm, the tables) every step and `held-out` now and then. Raises
    `IntaglioError` where the loss is no longer finite.
    """
    network = fresh(settings)
    lessons = Lessons(settings.curriculum, settings.seed, settings.steps)
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
                    run.log("held-out", learner.step, **judge(network, settings.curriculum))
            keeper.keep_when_due(learner)
            progress.advance(loss=float(loss.detach()))
            if interrupted():
                keeper.keep(learner)
                raise KeyboardInterrupt
    learner.export()
    rows = run.logged("train") if run.folder else []
    seen, spent = (sum(row[name] for row in rows) for name in ("tables", "cpu_s"))
    return Taught(network.eval().requires_grad_(False), learner.losses, settings, int(seen), float(spent))
