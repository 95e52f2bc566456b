"""The cost of a fine-tune, estimated before its first step: counts, memory and time."""

import time
from dataclasses import dataclass
from functools import partial

import torch

from intaglio.adapt.bayesian import Posterior
from intaglio.adapt.data import TrainingSet, epoch_order
from intaglio.adapt.examples import Examples
from intaglio.adapt.memory_advice import counting
from intaglio.adapt.settings import BayesianTraining
from intaglio.adapt.trainable import Trainable
from intaglio.adapt.training import accumulate, checkpointed, freeze
from intaglio.amounts import duration_words, size_words
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

TIMED_WEIGHTS = 1 << 22
"""Numbers, at most, whose update is timed; the time is scaled up to all of them."""


@dataclass(frozen=True)
class Plan:
    """Counts, bytes and seconds of a fine-tune; `str()` is a table for people."""

    pictures: int
    shown: int
    """Pictures an epoch, repeats counted."""
    class_pictures: int
    steps: int
    batch: int
    micro_batch: int
    """Pictures in memory at once, class pictures included."""
    trainable: int
    """Numbers that are trained."""
    weights_bytes: int
    """The whole model, and an adapter beside it."""
    gradients_bytes: int
    moments_bytes: int
    mean_bytes: int
    """The exponential mean of the weights; 0 where none is kept."""
    activations_bytes: int
    """Saved for the backward pass of one micro-batch: measured; without what gradient checkpointing recomputes."""
    step_s: float
    """Seconds a step, from a timing of one micro-batch and of an update."""
    random: int = 0
    """Trained numbers that are random in training; each has a learned sigma beside it."""
    random_bytes: int = 0
    """Sigmas with their gradients and moments, the noise and the draw."""

    @property
    def epochs(self) -> float:
        return self.steps * self.batch / self.shown

    @property
    def memory_bytes(self) -> int:
        """The sum of the parts; the overhead of the libraries is not counted."""
        kept = self.weights_bytes + self.gradients_bytes + self.moments_bytes + self.mean_bytes + self.random_bytes
        return kept + self.activations_bytes

    @property
    def seconds(self) -> float:
        """Seconds of all steps together, without sample and judged pictures."""
        return self.steps * self.step_s

    def __str__(self) -> str:
        repeats = "" if self.shown == self.pictures else f", {self.shown} an epoch with repeats"
        prior = f" and {self.class_pictures} class pictures" if self.class_pictures else ""
        parts = {
            "weights": self.weights_bytes,
            "gradients": self.gradients_bytes,
            "moments": self.moments_bytes,
            "mean": self.mean_bytes,
            "random weights": self.random_bytes,
            "activations": self.activations_bytes,
        }
        share = f", {self.random:,} of them random ({self.random / self.trainable:.1%})" if self.random else ""
        memory = ", ".join(f"{name} {size_words(count)}" for name, count in parts.items() if count)
        return "\n".join(
            [
                f"pictures   {self.pictures}{repeats}{prior}",
                f"steps      {self.steps} of batch {self.batch} ({self.micro_batch} in memory), "
                f"{self.epochs:.1f} epochs",
                f"trainable  {self.trainable:,} numbers{share}",
                f"memory     about {size_words(self.memory_bytes)}: {memory}",
                f"time       about {duration_words(self.seconds)} ({self.step_s:.2g} s a step)",
            ]
        )


def make_plan(model: LatentDiffusion, trainable: Trainable, data: TrainingSet, settings: BayesianTraining) -> Plan:
    """Measure one step of the trainable weights in `model`, a throw-away copy, whose gradients change."""
    freeze(model)
    posterior = Posterior(trainable.weights, trainable.random_scales(settings), settings)
    trained, sigmas = list(trainable.weights.values()), list(posterior.sigmas.values())
    for weight in (*trained, *sigmas):
        weight.requires_grad_(True)
    examples = Examples(model, data.head(settings.batch), settings)
    batch = examples.at(0)
    at_once = min(settings.micro_batch or len(batch), len(batch))
    part = batch[:at_once]
    everything = {id(weight): weight for weight in [*_all_weights(model), *trained]}.values()
    sampled = partial(posterior.sampled, 0)
    with checkpointed(model, settings):
        with counting([*everything, *posterior.draws]) as saved:
            accumulate(model, examples, part, settings, sampled)
        start = time.monotonic()
        accumulate(model, examples, part, settings, sampled)
        _finish(model)
        spent = time.monotonic() - start
    size = _bytes(trained)
    prior = data.class_images if data.class_images is not None and settings.prior_weight else ()
    return Plan(
        pictures=len(data.images),
        shown=len(epoch_order(data.images)),
        class_pictures=len(prior),
        steps=settings.steps,
        batch=settings.batch,
        micro_batch=at_once,
        trainable=sum(weight.numel() for weight in trained),
        random=len(posterior),
        random_bytes=4 * _bytes(sigmas) + posterior.buffers_bytes,
        weights_bytes=_bytes(everything),
        gradients_bytes=size,
        moments_bytes=2 * size,
        mean_bytes=size if settings.ema else 0,
        activations_bytes=saved.bytes,
        step_s=spent * len(batch) / at_once + _update_seconds(model, [*trained, *sigmas]),
    )


def _update_seconds(model: LatentDiffusion, trained: list[torch.Tensor]) -> float:
    """Seconds of one update of so many numbers, scaled up from that of a part."""
    total = sum(weight.numel() for weight in trained)
    stand_in = torch.zeros(min(total, TIMED_WEIGHTS), device=model.device, requires_grad=True)
    stand_in.grad = torch.ones_like(stand_in)
    optimiser = torch.optim.AdamW([stand_in], fused=True)
    optimiser.step()
    _finish(model)
    start = time.monotonic()
    optimiser.step()
    _finish(model)
    return (time.monotonic() - start) * total / stand_in.numel()


def _finish(model: LatentDiffusion) -> None:
    if torch.device(model.device).type == "cuda":
        torch.cuda.synchronize(model.device)


def _all_weights(model: LatentDiffusion) -> list[torch.Tensor]:
    return [weight for part in model.parts.values() for weight in part.parameters()]


def _bytes(weights) -> int:
    return sum(weight.numel() * weight.element_size() for weight in weights)
