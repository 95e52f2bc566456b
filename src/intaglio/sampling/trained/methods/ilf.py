"""Training for ILF: the block whose features are fed back into a U-Net, and its scale factor."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import StepLoss, train
from intaglio.learning.mixed_precision import computing_in
from intaglio.learning.precision import MixedPrecision, check_precision
from intaglio.learning.settings import OptimizerSettings
from intaglio.learning.trainer import Trainer
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.unet_inner import InnerUNet
from intaglio.randomness import generator_32bit
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.sampling.grid import timestep_grid
from intaglio.sampling.inner_feedback import InnerLoop, Reenter
from intaglio.sampling.trained.family import SamplingTrainer
from intaglio.sampling.trained.own_latents import STATE as DRAWN
from intaglio.sampling.trained.own_latents import own_latents
from intaglio.sampling.trained_part import TrainedPart

STATE = "feedback"
CHECKPOINT_EVERY_S = 60.0
"""Seconds between two saved states."""
JUDGED = 8
"""Updates' worth of fresh examples by which the finished part is judged."""


@dataclass(frozen=True, kw_only=True)
class InnerLoopTraining(MixedPrecision, SamplingTrainer):
    """ILF: a block that feeds a U-Net's features back, for cheaper steps between its own.

    For a pair (t, t - r) of neighbours on the grid of `steps`, clean latents of the model's own pictures are noised to
    t, where the model's own prediction ε leads to x(t - r) by one step of DDIM. The inner step from the features of
    that call (`intaglio sample ilf` says what it computes) gives ε'; with ε* the model's own prediction in x(t - r),

            loss = mean (ε' - ε*)²

    over the numbers of a batch, without guidance. The feedback block F and the factor γ alone are trained: F begins as
    a copy of a layer of the U-Net's own, γ at 0. Examples without their prompt are for the other branch of guidance.
    `error` is the loss of the finished part over fresh examples, `caching_error` that of γ = 0, `thousandths` the price
    of an inner step, in thousandths of a call by multiplications. Draw in as many steps as were trained for, since r is
    not told to F.

    Source: arXiv 2501.13107, for transformers, with no code; on a U-Net it is our own design.
    """

    states_kept: ClassVar[tuple[str, ...]] = (DRAWN, STATE)

    pictures: int = 64
    """Pictures of the model's own, of the prompts in turn, 1 or more."""
    updates: int = 500
    """Updates of the block and its factor, 1 or more."""
    examples: int = 16
    """Examples an update, 1 or more, of which `batch` go through the network at once."""
    learning_rate: float = 1e-3
    """Learning rate of AdamW, above 0."""
    dropped: float = 0.2
    """Share of the examples whose prompt is left out, 0 to 1."""
    lowest: int = 2
    """Lowest resolutions of the U-Net that are its inner part, 1 or more; the highest is never among them."""
    reenter: Reenter = "up"
    """`down` feeds back into the inner part's first down block, and all of the part runs again; `up` into its output,
    so that the feedback block stands for the part, and a step costs less."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_precision(self.precision)
        if self.steps < 2:
            raise ValueError(f"steps must be 2 or more, not {self.steps}: the second of a pair is an inner step")
        for name in ("pictures", "updates", "examples", "lowest"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate must be above 0, and finite, not {self.learning_rate}")
        if not 0 <= self.dropped <= 1:
            raise ValueError(f"dropped must be 0 to 1, not {self.dropped}")
        if self.reenter not in ("down", "up"):
            raise ValueError(f"reenter must be down or up, not {self.reenter!r}")

    def check(self, model: LatentDiffusion, prompts: Sequence[str]) -> None:
        """Raises `BadInput` for a model whose denoiser is no U-Net of two resolutions or more."""
        super().check(model, prompts)
        InnerUNet.of(getattr(model, "denoiser", None), self.lowest, model.name)

    def planned(self, model: LatentDiffusion, prompts: Sequence[str]) -> Calls:
        """The steps of the pictures, and for an example two calls and an inner step, whose gradient is counted whole.

        So is the judgement, by the trained factor and by 0.
        """
        share = InnerLoop.of(model, self.lowest, self.reenter).thousandths()
        drawn, trained = self.pictures * self.steps * self.branches, self.updates * self.examples
        asked = trained + 2 * JUDGED * self.examples
        return Calls(forward=drawn + 2 * asked, backward=trained, thousandths=share * asked)

    def __call__(self, model: LatentDiffusion, prompts: Sequence[str], *, run: Run = Run.none()) -> TrainedPart:
        """The block's weights and the factor."""
        self.check(model, prompts)
        drawing = {"steps": self.steps, "scale": self.scale, "batch": self.batch, "seed": self.seed}
        clean = own_latents(model, prompts, self.pictures, **drawing, run=run)
        loop = InnerLoop.of(model, self.lowest, self.reenter)
        with model.frozen():
            with torch.no_grad():
                given = model.embed([*prompts, ""])
            data = _Pairs(self, loop, clean.to(model.device), given)
            losses = _trained(self, data, run)
            with torch.no_grad():
                error, caching = data.judged(loop.gamma), data.judged(torch.zeros_like(loop.gamma))
        tail = losses[-max(1, len(losses) // 10) :]
        facts = {"lowest": self.lowest, "reenter": self.reenter, "gamma": float(loop.gamma), "loss": float(tail.mean())}
        facts |= {"error": error, "caching_error": caching, "thousandths": loop.thousandths()}
        return self.part(model, prompts, loop.weights, facts)


def _trained(settings: InnerLoopTraining, data: "_Pairs", run: Run) -> Float[Tensor, " steps"]:
    """Trains the loop in place, and returns the losses."""
    optimiser = OptimizerSettings(
        steps=settings.updates, learning_rate=settings.learning_rate, weight_decay=0.0, clip=1.0
    )
    trainer = Trainer(data.loop.weights, optimiser, precision=settings.precision)
    checkpoints = Checkpoints(run, every_s=CHECKPOINT_EVERY_S, streams=(STATE,), state=STATE)
    checkpoints.restore(trainer)
    advice = f"try a learning rate below {settings.learning_rate:g}"
    with computing_in(settings.precision, [data.loop.model.denoiser, data.loop.block]):
        train(trainer, data.loss, run, checkpoints, advice=advice, label=STATE, stream=STATE)
    trainer.export()
    return trainer.losses


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Examples of an update: noised latents at t, and those at t - r that the model's own step leads to."""

    settings: InnerLoopTraining
    loop: InnerLoop
    clean: Float[Tensor, "k c h w"]
    """Of the pictures."""
    given: Conditioning
    """Of the prompts, and of the empty one last."""

    def loss(self, step: int) -> StepLoss:
        """The mean loss of an update's examples, with its gradients, some of them at a time."""
        mean = 0.0
        for errors in self.errors(step, self.loop):
            part = errors.sum() / self.settings.examples
            part.backward()
            mean += float(part.detach())
        return StepLoss(mean)

    def judged(self, gamma: Float[Tensor, ""]) -> float:
        """The mean loss over examples of no update, by another factor."""
        loop = replace(self.loop, gamma=gamma)
        steps = range(self.settings.updates, self.settings.updates + JUDGED)
        return float(torch.cat([errors for step in steps for errors in self.errors(step, loop)]).mean())

    def errors(self, step: int, loop: InnerLoop) -> Iterator[Float[Tensor, " n"]]:
        """Mean squared errors of inner steps, one an example, `batch` examples after another."""
        rows, t, then, noise, prompts = self._drawn(step)
        for first in range(0, len(rows), self.settings.batch):
            cut = slice(first, first + self.settings.batch)
            yield self._inner_errors(loop, (rows[cut], t[cut], then[cut], prompts[cut]), noise[cut])

    def _inner_errors(self, loop: InnerLoop, places: tuple[Tensor, ...], noise: Tensor) -> Tensor:
        model, (rows, t, then, prompts) = self.loop.model, places
        clean, given = self.clean[rows], self.given[prompts]
        with torch.no_grad():
            found, features = loop.full(model.noised(clean, noise, t), t, given, model.predict)
            ratio = (model.schedule.noises / model.schedule.signals).to(noise)[t].view(-1, 1, 1, 1)
            x = model.noised(clean + ratio * (noise - found), found, then)
            wanted = model.predict(x, then, given)
        return (loop.step(features, x, then, given)[0] - wanted).square().flatten(1).mean(1)

    def _drawn(self, step: int) -> tuple[Tensor, ...]:
        """Of each example: the picture, the two timesteps, the noise, the row of the conditioning."""
        settings, device = self.settings, self.clean.device
        source, count = generator_32bit(settings.seed, STATE, step), settings.examples
        rows = torch.randint(len(self.clean), (count,), generator=source)
        grid = torch.tensor([level.t for level in timestep_grid(self.loop.model.schedule, settings.steps)])
        places = torch.randint(settings.steps - 1, (count,), generator=source)
        blank = torch.rand(count, generator=source) < settings.dropped
        prompts = torch.where(blank, len(self.given) - 1, rows % (len(self.given) - 1))
        noise = torch.randn((count, *self.clean.shape[1:]), generator=source)
        return tuple(one.to(device) for one in (rows, grid[places], grid[places + 1], noise, prompts))
