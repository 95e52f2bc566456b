"""Measurements of one fine-tune of the bench: the judgements of its forms, or the seconds and bytes of a step."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import torch

from intaglio.adapt.data import TrainingSet
from intaglio.adapt.family import FineTuner
from intaglio.bench.finetune.regime import PAIR, FewShotRegime, Form
from intaglio.bench.kit.suspects import PROMPT
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator_32bit

TIMED_STEPS, TURNS = 10, 3
"""Steps of each timing, and timings of each form, by turns."""


def training_set(name: str, count: int, seed: int) -> TrainingSet:
    """Some members of a few-shot set, others for each seed, all under one prompt."""
    members = testbed.few_shot(name).members
    if count > len(members):
        raise BadInput(f"{name} has {len(members)} pictures, and {count} are wanted; take fewer with --pictures")
    order = torch.randperm(len(members), generator=generator_32bit(0, "bench", name)).tolist()
    taken = [order[(seed * count + index) % len(order)] for index in range(count)]
    return TrainingSet(ImageSet.from_pixels(members.pixels[taken], [members.names[index] for index in taken]), PROMPT)


def judged(
    base: LatentDiffusion, data: TrainingSet, regime: FewShotRegime, name: str, seed: int, forms: Sequence[Form]
) -> dict[str, list[dict[str, Any]]]:
    """The judgements of a method's fine-tune, by form."""
    tuners = {form: regime.tuner(name, seed, form) for form in forms}
    return {
        form: [asdict(now) for now in tuner(base, data, watch=regime.watch()).trained.curve]
        for form, tuner in tuners.items()
    }


def timed(base: LatentDiffusion, data: TrainingSet, regime: FewShotRegime, name: str, seed: int) -> dict[str, Any]:
    """Seconds a step, without judgements, plain and Bayesian by turns, and the bytes of both plans."""
    tuners = {form: regime.tuner(name, seed, form) for form in PAIR}
    seconds: dict[str, list[float]] = {form: [] for form in PAIR}
    with _one_thread():
        for form in PAIR * TURNS:
            # What a fine-tune of one step takes as well, copying and encoding, is no part of a step's time.
            short, long = (_seconds(replace(tuners[form], steps=steps), base, data) for steps in (1, 1 + TIMED_STEPS))
            seconds[form].append((long - short) / TIMED_STEPS)
    return {"seconds": seconds, "bytes": {form: tuner.plan(base, data).memory_bytes for form, tuner in tuners.items()}}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch computes in one thread: in processor time, a thread that waits for another counts as work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _seconds(tuner: FineTuner, base: LatentDiffusion, data: TrainingSet) -> float:
    """Seconds of a call: processor time on the CPU, so that other work does not count; else those of the clock."""
    clock = time.process_time if base.device.type == "cpu" else time.monotonic
    began = clock()
    tuner(base, data)
    return clock() - began
