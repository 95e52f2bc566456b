"""The cost of a fine-tune, estimated before its first step: counts, memory and time."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from intaglio.adapt.bayesian import Posterior
from intaglio.adapt.data import TrainingSet, epoch_order
from intaglio.adapt.live_bytes import LiveBytes
from intaglio.adapt.settings import BayesianTraining
from intaglio.adapt.trainable import Trainable
from intaglio.adapt.training import checkpointed, descend, freeze, learning_parts
from intaglio.adapt.training_copy import TrainingCopy
from intaglio.adapt.training_examples import StepBatch, TrainingExamples
from intaglio.amounts import size_words
from intaglio.learning.mixed_precision import computing_in
from intaglio.learning.optimizers import moments_bytes
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.packed_base import PackedBase
from intaglio.runs.time_plan import TimePlan

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
    """All that is on the device in a step: the copy that is trained, and of its base what is not off the device."""
    gradients_bytes: int
    moments_bytes: int
    mean_bytes: int
    """The exponential mean of the weights; 0 where none is kept."""
    activations_bytes: int
    """The most that a step holds beside all else, measured: what is saved for the backward pass, casts of weights in
    half precision, and temporary tensors."""
    step_s: float
    """Seconds a step, from a timing of one micro-batch and of an update."""
    random: int = 0
    """Trained numbers that are random in training; each has a learned sigma beside it."""
    random_bytes: int = 0
    """Sigmas with their gradients and moments, the noise and the draw."""
    beside_seconds: Mapping[str, float] = field(default_factory=dict)
    """Seconds of what is done beside the steps, by its name, such as `judged pictures`."""
    opening_bytes: int = 0
    """Before the first step, when prompts are read and pictures encoded: what is on the device, and the most beside."""
    closing_bytes: int = 0
    """At the end, when all of a step is freed: the base, and the result, which shares no weights with it."""

    @property
    def epochs(self) -> float:
        return self.steps * self.batch / self.shown

    @property
    def memory_bytes(self) -> int:
        """The most of a step, the sum of its parts, of the beginning and of the end; libraries' own is not counted."""
        kept = self.weights_bytes + self.gradients_bytes + self.moments_bytes + self.mean_bytes + self.random_bytes
        return max(kept + self.activations_bytes, self.opening_bytes, self.closing_bytes)

    @property
    def seconds(self) -> float:
        """Seconds of all steps together, and of what is done beside them."""
        return self.time.seconds

    @property
    def time(self) -> TimePlan:
        """The seconds by what is done in them."""
        return TimePlan({f"{self.steps} steps of {self.step_s:.2g} s": self.steps * self.step_s, **self.beside_seconds})

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
        end = f"; at the end {size_words(self.closing_bytes)}" if self.closing_bytes == self.memory_bytes else ""
        if self.opening_bytes == self.memory_bytes:
            end = f"; before the first step {size_words(self.opening_bytes)}"
        share = f", {self.random:,} of them random ({self.random / self.trainable:.1%})" if self.random else ""
        memory = ", ".join(f"{name} {size_words(count)}" for name, count in parts.items() if count)
        return "\n".join(
            [
                f"pictures   {self.pictures}{repeats}{prior}",
                f"steps      {self.steps} of batch {self.batch} ({self.micro_batch} in memory), "
                f"{self.epochs:.1f} epochs",
                f"trainable  {self.trainable:,} numbers{share}",
                f"memory     about {size_words(self.memory_bytes)}: {memory}{end}",
                str(self.time),
            ]
        )


def make_plan(
    copied: TrainingCopy, trainable: Trainable, data: TrainingSet, settings: BayesianTraining, *, dry: bool = False
) -> Plan:
    """Measure one step of the trainable weights in a throw-away copy, whose gradients change.

    A `dry` plan runs on tensors without memory, so that it can be made of a step that does not fit; it has no time.
    """
    model = copied.model
    freeze(model)
    posterior = Posterior(trainable.weights, trainable.random_scales(settings), settings)
    trained, sigmas = list(trainable.weights.values()), list(posterior.sigmas.values())
    for weight in (*trained, *sigmas):
        weight.requires_grad_(True)
    with LiveBytes() as opening:
        examples = TrainingExamples(model, data.head(1 if dry else settings.batch), settings)
    batch = examples.at(0)
    at_once = min(settings.micro_batch or len(batch), len(batch))
    parts = [batch[first : first + at_once] for first in range(0, len(batch), at_once)]
    step = partial(_gradients, model, examples, settings, posterior)
    spent = 0.0
    with checkpointed(model, settings), computing_in(settings.precision, learning_parts(model)):
        live = _live_bytes(step, parts[:2], trained, dry=dry)
        if not dry:
            start = time.monotonic()
            step(parts[:1])
            _finish(model)
            spent = time.monotonic() - start
    size, update = _bytes(trained), 0.0 if dry else _update_seconds(model, [*trained, *sigmas])
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
        random_bytes=2 * _bytes(sigmas) + _moments(settings, sigmas) + posterior.buffers_bytes,
        weights_bytes=_held_bytes(copied, trained, copied.aside.weights),
        gradients_bytes=size,
        moments_bytes=_moments(settings, trained),
        mean_bytes=size if settings.ema else 0,
        activations_bytes=max(0, live - size - _bytes(sigmas)),
        opening_bytes=_held_bytes(copied, trained, copied.aside.weights) + opening.peak,
        closing_bytes=_closing_bytes(copied),
        step_s=spent * len(batch) / at_once + update,
    )


def _gradients(
    model: LatentDiffusion,
    examples: TrainingExamples,
    settings: BayesianTraining,
    posterior: Posterior,
    parts: Sequence[StepBatch],
) -> None:
    """Leaves the gradients of some micro-batches of a step."""
    for index, part in enumerate(parts):
        with posterior.sampled(0, index):
            descend(model, examples, part, settings)


def _live_bytes(
    step: Callable[[Sequence[StepBatch]], None], parts: Sequence[StepBatch], trained: Sequence[Tensor], *, dry: bool
) -> int:
    """The most bytes that a step holds beside the weights, its gradients among them."""
    without_memory = FakeTensorMode(allow_non_fake_inputs=True) if dry else nullcontext()
    try:
        with without_memory, LiveBytes() as live:
            step(parts)
    finally:
        for weight in trained:
            weight.grad = None
    return live.peak


def _held_bytes(copied: TrainingCopy, trained: Sequence[Tensor], waiting: Sequence[Tensor]) -> int:
    """Bytes of the weights that are on the device, each once, also where two models share it."""
    away = {weight.untyped_storage().data_ptr() for weight in waiting}
    networks = [*copied.model.parts.values(), *copied.base.parts.values()]
    networks += [] if copied.stored is None else [copied.stored]
    held = [weight for network in networks for weight in (*network.parameters(), *network.buffers())]
    sizes = {weight.untyped_storage().data_ptr(): weight.untyped_storage().nbytes() for weight in [*held, *trained]}
    return sum(size for place, size in sizes.items() if place not in away)


def _closing_bytes(copied: TrainingCopy) -> int:
    """The base, the trained copy, and a copy of what the two share, when the result is made its own.

    Nothing is copied of a packed base, which the result shares.
    """
    if isinstance(copied.base, PackedBase):
        return _held_bytes(copied, (), ())
    networks = [*copied.base.parts.values(), *copied.lent]
    networks += [one for one in copied.model.parts.values() if one not in copied.lent and one not in networks]
    return sum(_bytes([*network.parameters(), *network.buffers()]) for network in networks)


def _moments(settings: BayesianTraining, weights: Sequence[Tensor]) -> int:
    return sum(moments_bytes(settings.optimizer, weight.numel()) for weight in weights)


def _update_seconds(model: LatentDiffusion, trained: list[Tensor]) -> float:
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


def _bytes(weights) -> int:
    return sum(weight.numel() * weight.element_size() for weight in weights)
