"""Cost of a protection, estimated before its first step: views, memory and time."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.adapt.memory_advice import counting, remedied_memory
from intaglio.amounts import duration_words, size_words
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.family import Protector, SamplingProtector
from intaglio.protect.originals import Original
from intaglio.protect.surrogate import Surrogate
from intaglio.randomness import generator

COPIES = 8
"""Float32 copies of a group of pictures that a step holds: pictures, change, gradient, views and their gradients."""


@dataclass(frozen=True)
class ProtectionPlan:
    """Counts, bytes and seconds of a protection; `str()` is a table for people."""

    pictures: int
    sizes: int
    """Sizes among the pictures; only those of one size are worked on together."""
    steps: int
    views: float
    """Views a picture and step that the model is given, the mean over pictures; tiles and transformed copies count."""
    view_s: float
    """Seconds for the gradient of one view, timed on one micro-batch."""
    learning_s: float
    """Seconds that the surrogate learns in."""
    weights_bytes: int
    """Of the whole model."""
    activations_bytes: int
    """Saved for the backward pass of one micro-batch: measured, and scaled up to its rows."""
    pictures_bytes: int
    """Of the largest group of pictures, with its change and views."""

    @property
    def memory_bytes(self) -> int:
        """The sum of the parts; the overhead of the libraries is not counted."""
        return self.weights_bytes + self.activations_bytes + self.pictures_bytes

    @property
    def seconds(self) -> float:
        """Seconds for all pictures, with the four checks of each."""
        return self.learning_s + self.pictures * (self.steps + 4) * self.views * self.view_s

    def __str__(self) -> str:
        sizes = f" of {self.sizes} sizes" if self.sizes > 1 else ""
        learning = f", {duration_words(self.learning_s)} of it for the surrogate to learn" if self.learning_s else ""
        parts = {"weights": self.weights_bytes, "activations": self.activations_bytes, "pictures": self.pictures_bytes}
        memory = ", ".join(f"{name} {size_words(count)}" for name, count in parts.items())
        return "\n".join(
            [
                f"pictures   {self.pictures}{sizes}",
                f"steps      {self.steps}, {self.views:.1f} views of a picture each",
                f"memory     about {size_words(self.memory_bytes)}: {memory}",
                f"time       about {duration_words(self.seconds)} ({self.view_s:.2g} s a view){learning}",
            ]
        )


def make_plan(
    method: Protector, model: LatentDiffusion, originals: Sequence[Original], prompt: str, group_bytes: int
) -> ProtectionPlan:
    """The cost of protecting pictures, from the gradients of one micro-batch of views; memory errors give advice.

    Args:
        method: with its settings.
        model: the surrogate.
        originals: the pictures, at least one.
        prompt: of an imitator.
        group_bytes: of the pixels of the largest group of pictures in float32.
    """
    sizes = {one.pixels.shape[:2] for one in originals}
    views = sum(_views(method, one.pixels.shape[:2], model.resolution) for one in originals) / len(originals)
    rows = max(1, min(method.micro_batch, round(views * method.batch)))
    with (
        advice(method),
        Surrogate.of(
            model,
            prompt,
            micro_batch=method.micro_batch,
            precision=method.precision,
            checkpointing=method.checkpointing,
        ) as surrogate,
    ):
        activations = _activations(method, surrogate, rows)
        view_s = _view_seconds(method, surrogate, rows)
    return ProtectionPlan(
        pictures=len(originals),
        sizes=len(sizes),
        steps=method.steps,
        views=views,
        view_s=view_s,
        learning_s=method.learning_seconds(model, len(originals), prompt),
        weights_bytes=sum(w.numel() * w.element_size() for w in _weights(model)),
        activations_bytes=activations,
        pictures_bytes=COPIES * group_bytes,
    )


def advice(method: Protector) -> AbstractContextManager[None]:
    """A context in which running out of memory names what to lower."""
    remedies = [f"--micro-batch {method.micro_batch // 2}"] if method.micro_batch > 1 else []
    remedies += [] if method.checkpointing else ["--checkpointing"]
    remedies += [f"--batch {method.batch // 2}"] if method.batch > 1 else []
    return remedied_memory(f"{method.micro_batch} rows in a call of a network", remedies)


def _views(method: Protector, shape: tuple[int, ...], side: int) -> float:
    """Views of a picture a step, the mean over steps and random offsets."""
    tiles = 1.0
    for size in shape:
        tiles *= 1 if size <= side else (size + side - 1) / side  # the mean over offsets
    kinds = {"tiles": tiles, "whole": 1.0, "both": (tiles + 1) / 2}
    return kinds[method.view] * (method.draws if method.transformations else 1)


def _activations(method: Protector, surrogate: Surrogate, rows: int) -> int:
    """Bytes that autograd saves: of the encoder for `rows` views, of the first stage for one micro-batch of samples."""
    weights = list(_weights(surrogate.model))
    one = replace(method, samples=1) if isinstance(method, SamplingProtector) else method
    with counting(weights) as encoder:
        surrogate.gradient(_pixels(surrogate, 1), lambda z, _: (z.flatten(1).mean(1), z), _sources(1), sampled=False)
    with counting(weights) as both:
        one.gradient(surrogate, _pixels(surrogate, 1), None, _sources(1))
    first = max(0, both.bytes - encoder.bytes)
    return rows * encoder.bytes + min(method.micro_batch, rows * method.samples_a_step) * first


def _view_seconds(method: Protector, surrogate: Surrogate, rows: int) -> float:
    """Seconds for the gradient of one view among `rows`, after one call that warms up."""
    pixels, times = _pixels(surrogate, rows), []
    for _ in range(2):
        began = time.monotonic()
        method.gradient(surrogate, pixels, None, _sources(rows))
        times.append(time.monotonic() - began)
    return times[-1] / rows


def _pixels(surrogate: Surrogate, rows: int) -> Float[Tensor, "m 3 s s"]:
    side = surrogate.model.resolution
    return torch.rand(rows, 3, side, side, generator=generator(0, "plan"))


def _sources(rows: int) -> list[torch.Generator]:
    return [generator(0, "plan", row) for row in range(rows)]


def _weights(model: LatentDiffusion) -> Iterator[Tensor]:
    return (weight for part in model.parts.values() for weight in part.parameters())
