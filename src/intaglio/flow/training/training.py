"""Maximum-likelihood training of a TarFlow, resumed exactly."""

import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from intaglio.flow.training.data import FlowPictures, dequantised
from intaglio.flow.training.settings import FlowTraining
from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import Objective, StepLoss, backward, train
from intaglio.learning.step_randomness import batch_at, dropped_at
from intaglio.learning.trainer import Trainer
from intaglio.models.flow.config import TarFlowConfig
from intaglio.models.flow.tarflow import UNLABELLED, TarFlow, fresh_flow
from intaglio.models.flow.tarflow_files import save_flow
from intaglio.randomness import generator_32bit
from intaglio.runs.run import Run

CHECKPOINT_S = 30.0
"""Seconds between two saved states."""
PROBED = (2, 6)
"""Steps that are left out and steps that are timed where the budget is one of time."""
VARIANCE_RATE = 0.1
"""Share of a batch in the running variance of the prior, where a flow has no scales."""


@dataclass(frozen=True, eq=False)
class TrainedFlow:
    """A trained flow, with the course of its training."""

    model: TarFlow
    classes: tuple[str, ...]
    losses: Float64[Tensor, " steps"]
    """Loss of every step, in nats a dimension, less ln(2 pi) / 2."""
    held_out: float
    """The last measurement on pictures that were never trained on, in the same unit; NaN where none were kept."""
    settings: FlowTraining

    def save(self, folder: Path, card: str | None = None) -> None:
        """Write the model's folder; see `save_flow`."""
        save_flow(self.model, folder, labels=self.classes, card=card)


def config_of(settings: FlowTraining, data: FlowPictures) -> TarFlowConfig:
    """The architecture for these settings and the classes of these pictures."""
    layers = settings.layers if len(settings.layers) == settings.blocks else settings.layers * settings.blocks
    return TarFlowConfig(
        image_size=(settings.resolution, settings.resolution),
        patch_size=settings.patch_size,
        hidden_size=settings.hidden_size,
        num_blocks=settings.blocks,
        layers_per_block=layers,
        head_dim=settings.head_dim,
        nvp=settings.nvp,
        num_classes=len(data.classes),
        noise_std=settings.noise,
        soft_clip=settings.soft_clip,
        scale_param=settings.scale_param,
    )


def train_flow(
    data: FlowPictures, settings: FlowTraining, *, run: Run = Run.none(), device: str = "cpu", checkpoint_every: int = 0
) -> TrainedFlow:
    """Train a model from random weights; a killed run goes on and ends with the same bits on the same machine.

    Logs `train` (loss, rate, gradient norm) every step and `held-out` (loss, and the mean square of every block's
    output, which drifts towards 1 in a healthy model). Raises `IntaglioError` where the loss is no longer finite.
    """
    model = fresh_flow(config_of(settings, data), torch.Generator().manual_seed(settings.seed)).to(device)
    kept, aside = data.split(settings.held_out, settings.seed)
    batches = Batches(data, kept, settings, device)
    objective = partial(step_loss, model, batches, settings)
    settings = _with_horizon(model, objective, settings, run)
    trainer = Trainer(dict(model.named_parameters()), settings)
    checkpoints = Checkpoints(run, every_s=CHECKPOINT_S, every=checkpoint_every, streams=("train", "held-out"))
    checkpoints.restore(trainer)

    def judge_when_due(trainer: Trainer, _: StepLoss) -> None:
        if trainer.step % settings.judge_every == 0 and trainer.step < settings.steps:
            with trainer.exported():
                judge(model, data, aside, settings, trainer.step, run)

    train(
        trainer,
        objective,
        run,
        checkpoints,
        watchers=(judge_when_due,),
        advice=f"try a learning rate below {settings.learning_rate:g}, a longer warm-up, or soft_clip",
    )
    trainer.export()
    run.rewind("held-out", settings.steps - 1)  # a run that was killed after its last step judges again
    judged = judge(model, data, aside, settings, settings.steps, run)
    if not settings.nvp:
        _measure_prior(model, batches)
    return TrainedFlow(model.eval().requires_grad_(False), data.classes, trainer.losses, judged, settings)


class Batches:
    """The pictures and labels of every step, as a function of (seed, step)."""

    def __init__(self, data: FlowPictures, indices: Int64[Tensor, "k"], settings: FlowTraining, device: str):
        self._data, self._indices, self._settings, self._device = data, indices.tolist(), settings, device

    def __call__(self, step: int) -> tuple[Tensor, Tensor | None]:
        """Pictures [n, 3, h, w] in [-1, 1] with their noise, and labels [n], some of which are left out (-1)."""
        settings = self._settings
        taken = batch_at(self._indices, step, settings.batch, settings.seed, "flow")
        source = generator_32bit(settings.seed, "noise", step)
        pixels = self._data.images.pixels[taken]
        if settings.mirror:
            turned = torch.rand(len(pixels), generator=source) < 0.5
            pixels = torch.where(turned[:, None, None, None], pixels.flip(3), pixels)
        pictures = dequantised(pixels, settings.noise, source).to(self._device)
        if self._data.labels is None:
            return pictures, None
        dropped = dropped_at(len(taken), settings.label_dropout, step, settings.seed)
        return pictures, self._data.labels[taken].masked_fill(dropped, UNLABELLED).to(self._device)


@torch.no_grad()
def judge(
    model: TarFlow, data: FlowPictures, indices: Int64[Tensor, "h"], settings: FlowTraining, step: int, run: Run
) -> float:
    """The loss on the pictures at `indices`, held out, at noise that is the same every time; NaN for none of them.

    Logged as `held-out`, with the mean square of every block's output.
    """
    if not len(indices):
        return math.nan
    source = generator_32bit(settings.seed, "held-out noise")
    losses, squares = [], []
    for part in indices.split(settings.batch):
        pictures = dequantised(data.images.pixels[part], settings.noise, source).to(model.device)
        labels = None if data.labels is None else data.labels[part].to(model.device)
        encoding = model(pictures, labels)
        losses.append(model.loss(encoding))
        squares.append(torch.stack([hidden.square().mean((1, 2)) for hidden in encoding.hidden], 1))
    loss = float(torch.cat(losses).mean())
    means = {f"square_{block}": value for block, value in enumerate(torch.cat(squares).mean(0).tolist())}
    run.log("held-out", step, loss=loss, **means)
    return loss


def step_loss(model: TarFlow, batches: Batches, settings: FlowTraining, step: int) -> StepLoss:
    """The loss of one step, with its gradients added to the weights' own."""
    pictures, labels = batches(step)
    with _autocast(model, settings):
        loss = model.loss(model(pictures, labels)).mean()
    return backward(loss)


def _autocast(model: TarFlow, settings: FlowTraining) -> AbstractContextManager[object]:
    if settings.precision == "float32":
        return nullcontext()
    return torch.autocast(model.device.type, dtype=torch.bfloat16)


def _with_horizon(model: TarFlow, objective: Objective, settings: FlowTraining, run: Run) -> FlowTraining:
    """The settings with as many steps as fit into the minutes, measured once and then kept with the run."""
    if settings.minutes is None:
        return settings
    stored = run.recorded("horizon").get("steps")
    if stored is None:
        before, timed = PROBED
        for step in range(before + timed):
            if step == before:
                began = time.monotonic()
            objective(step)
        model.zero_grad(set_to_none=True)
        a_step = (time.monotonic() - began) / timed
        stored = {"steps": max(1, round(60 * settings.minutes / a_step)), "seconds_a_step": a_step}
        run.record("horizon", "steps", stored)
    return replace(settings, steps=int(stored["steps"]))


@torch.no_grad()
def _measure_prior(model: TarFlow, batches: Batches) -> None:
    """Sets the prior's variance to a running mean of the squared latents [t, c] over batches, as the reference does."""
    for step in range(round(5 / VARIANCE_RATE)):
        latents = model(*batches(step)).latents
        model.variance.lerp_(latents.square().mean(0), VARIANCE_RATE)
