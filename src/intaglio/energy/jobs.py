"""`TrainJob` and `SampleJob`: the work of a whole training or drawing, as steps of its parts times their counts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from math import ceil
from typing import Literal

from intaglio.energy.layers.layer import NO_WORK, Step
from intaglio.errors import require

MOST = 10**12
"""Most samples, updates or pictures of a job."""
StepOfBatch = Callable[[int], Step]
"""The work of one call of a model's part at a batch."""


@dataclass(frozen=True)
class JobWork:
    """The work of a job, a part at a time; costs of parts are not independent, so that their sum is of `whole`."""

    parts: Mapping[str, Step]
    """Work of each part, all its calls together; parts that are not called are left out."""
    calls: Mapping[str, int]
    """Calls of each part."""

    @property
    def whole(self) -> Step:
        """The work of all parts."""
        return reduce(Step.__add__, self.parts.values(), NO_WORK)


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """A training: updates U = ⌈samples · epochs / (micro_batch · accumulation · devices)⌉, or as many as are stated.

    Its work is U · devices · (accumulation · (forward + backward) + update) + evaluations · evaluation +
    checkpoints · checkpoint. A last batch that is smaller counts whole.
    """

    micro_batch: int
    """Pictures of one forward and backward pass on one device, 1 or more."""
    samples: int | None = None
    """Pictures of an epoch, 1 or more; given with `epochs`."""
    epochs: float | None = None
    """Passes over the samples, above 0; given with `samples`."""
    updates: int | None = None
    """Updates of the weights, 1 or more; in place of samples and epochs."""
    accumulation: int = 1
    """Passes whose gradients are added before an update, 1 or more."""
    devices: int = 1
    """Devices that work at once, each on its own micro-batches and its own copy of the weights, 1 or more."""
    evaluations: int = 0
    """Evaluations in the whole training, each on one device, at least 0."""
    checkpoints: int = 0
    """Saved states in the whole training, each by one device, at least 0."""

    def __post_init__(self) -> None:
        for name in ("micro_batch", "accumulation", "devices"):
            _check_count(name, getattr(self, name), 1)
        for name in ("evaluations", "checkpoints"):
            _check_count(name, getattr(self, name), 0)
        by_epochs = self.samples is not None and self.epochs is not None
        neither = self.samples is None and self.epochs is None
        require(
            by_epochs if self.updates is None else neither,
            "a training is as long as samples and epochs say, or as updates say: give both of these, or that one",
        )
        for name in ("samples", "updates"):
            if getattr(self, name) is not None:
                _check_count(name, getattr(self, name), 1)
        require(
            self.epochs is None or 0 < self.epochs <= MOST, f"epochs must be above 0 and at most {MOST}: {self.epochs}"
        )

    @property
    def batch(self) -> int:
        """Pictures of an update, on all devices."""
        return self.micro_batch * self.accumulation * self.devices

    @property
    def total_updates(self) -> int:
        """Updates of the weights."""
        if self.updates is not None:
            return self.updates
        # A product such as 100 · 1.1 is a hair above what was meant, and would be rounded up to one update more.
        return ceil((self.samples or 0) * (self.epochs or 0.0) / self.batch * (1 - 1e-12))

    def work(
        self, micro_step: Step, update: Step, evaluation: Step | None = None, checkpoint: Step | None = None
    ) -> JobWork:
        """The work of the training.

        Args:
            micro_step: forward and backward pass of one micro-batch, with what a step costs beside its layers.
            update: one update by the optimiser.
            evaluation: one evaluation.
            checkpoint: one saved state.

        Raises:
            ValueError: evaluations or checkpoints are counted, and their step is not given.
        """
        updates = self.total_updates * self.devices
        parts = {
            "passes": (micro_step, updates * self.accumulation),
            "updates": (update, updates),
            "evaluations": (_known("evaluation", evaluation, self.evaluations), self.evaluations),
            "checkpoints": (_known("checkpoint", checkpoint, self.checkpoints), self.checkpoints),
        }
        return _job_work([(name, step, calls) for name, (step, calls) in parts.items()])


@dataclass(frozen=True, kw_only=True)
class SampleJob:
    """Pictures drawn by a diffusion model, in batches; the last one may be smaller.

    A batch's work is prompts + calls · denoiser + steps · scheduler + decoder, and the encoder for pictures that start
    from others.
    """

    pictures: int
    """Pictures to draw, 1 or more."""
    steps: int
    """Sampler steps of a picture, 1 or more."""
    calls: int | None = None
    """Calls of the denoiser for a picture, as the sampler makes them; None takes one a step. A second-order sampler
    such as Heun's makes 2 · steps - 1."""
    batch: int = 1
    """Pictures at once, 1 or more."""
    guidance: Literal["none", "batched", "separate"] = "batched"
    """Classifier-free guidance: by a denoiser's batch of twice the pictures, by twice the calls, or not at all."""
    decode: bool = True
    """Whether latents are decoded to pictures."""
    encode: bool = False
    """Whether the drawing starts from given pictures, which are encoded."""

    def __post_init__(self) -> None:
        for name in ("pictures", "steps", "batch"):
            _check_count(name, getattr(self, name), 1)
        if self.calls is not None:
            _check_count("calls", self.calls, 1)
        known = ("none", "batched", "separate")
        require(self.guidance in known, f"guidance must be one of {', '.join(known)}, not {self.guidance!r}")

    @property
    def batches(self) -> dict[int, int]:
        """Batches of each size, by the size."""
        whole, rest = divmod(self.pictures, self.batch)
        return {size: count for size, count in ((self.batch, whole), (rest, 1)) if size and count}

    def work(
        self,
        denoiser: StepOfBatch,
        decoder: StepOfBatch | None = None,
        prompts: StepOfBatch | None = None,
        encoder: StepOfBatch | None = None,
        scheduler: StepOfBatch | None = None,
    ) -> JobWork:
        """The work of the drawing.

        Args:
            denoiser: one call at a batch; with batched guidance it is asked for twice the pictures.
            decoder: one decoding of a batch of latents.
            prompts: one reading of a batch of prompts; with guidance, of either kind, of twice as many.
            encoder: one encoding of a batch of pictures.
            scheduler: the sampler's own arithmetic in a step of a batch.

        Raises:
            ValueError: pictures are to be decoded or encoded, and the step of that is not given.
        """
        require(decoder is not None or not self.decode, "decode wants the work of a decoder: give it, or decode=False")
        require(encoder is not None or not self.encode, "encode wants the work of an encoder: give it")
        calls = (self.calls or self.steps) * (2 if self.guidance == "separate" else 1)
        asked: list[tuple[str, StepOfBatch | None, int, int]] = [
            ("prompts", prompts, 1 if self.guidance == "none" else 2, 1),
            ("encoder", encoder if self.encode else None, 1, 1),
            ("denoiser", denoiser, 2 if self.guidance == "batched" else 1, calls),
            ("scheduler", scheduler, 1, self.steps),
            ("decoder", decoder if self.decode else None, 1, 1),
        ]
        return _job_work(
            [
                (name, of(factor * size), count * batches)
                for name, of, factor, count in asked
                if of is not None
                for size, batches in self.batches.items()
            ]
        )

    def once_a_batch(self, name: str, of: StepOfBatch) -> JobWork:
        """The work of a further part that is called once for each batch."""
        return _job_work([(name, of(size), batches) for size, batches in self.batches.items()])


def joined(*works: JobWork) -> JobWork:
    """The work of several jobs, parts of one name added up."""
    parts: dict[str, Step] = {}
    calls: dict[str, int] = {}
    for work in works:
        for name, step in work.parts.items():
            parts[name] = parts.get(name, NO_WORK) + step
            calls[name] = calls.get(name, 0) + work.calls[name]
    return JobWork(parts, calls)


def repeated(work: JobWork, count: int) -> JobWork:
    """The work of a job that is done so many times, 1 or more."""
    _check_count("count", count, 1)
    parts = {name: step.times(count) for name, step in work.parts.items()}
    return JobWork(parts, {name: count * calls for name, calls in work.calls.items()})


def _job_work(rows: list[tuple[str, Step, int]]) -> JobWork:
    """The sum of rows of one name, each a step and its calls."""
    parts: dict[str, Step] = {}
    calls: dict[str, int] = {}
    for name, step, count in rows:
        if count:
            parts[name] = parts.get(name, NO_WORK) + step.times(count)
            calls[name] = calls.get(name, 0) + count
    return JobWork(parts, calls)


def _known(name: str, step: Step | None, count: int) -> Step:
    require(step is not None or not count, f"{count} {name}s are counted, and the work of one is not given: give it")
    return step or NO_WORK


def _check_count(name: str, value: int, least: int) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    require(whole and least <= value <= MOST, f"{name} must be a whole number from {least} to {MOST}, not {value!r}")
