"""Estimated cost of an extraction: pictures and seconds, before the first picture."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from intaglio.amounts import duration_words
from intaglio.extract.family import Extractor
from intaglio.extract.generate import GenerateBatch, SeedBatch, batches_a_round
from intaglio.extract.inputs import ExtractionInputs
from intaglio.models.worker_copies import SharedModels
from intaglio.runs.cluster import joined
from intaglio.runs.timed import seconds_of

PROBED_STEPS = 2
"""Sampling steps of the pictures that are timed."""
PROBED_PICTURES = 4
"""Pictures, at most, that are timed together; more take as long a picture."""


@dataclass(frozen=True)
class ExtractionPlan:
    """Counts and seconds of an extraction; `str()` gives them as text for the user."""

    generations: int
    controls: int
    steps: int
    workers: int
    batch: int
    """Pictures that a worker draws at once."""
    picture_s: float
    """Seconds for a picture on one worker, which has its share of the cores, timed on one small batch."""
    descriptor_s: float = 0.0
    """Seconds for the descriptors of a picture, which one process alone makes."""

    @property
    def seconds(self) -> float:
        """Seconds for all pictures, without stopping early."""
        counts = (self.generations, self.controls)
        drawn = sum(in_a_row(count, self.batch, self.workers) for count in counts)
        return drawn * self.picture_s + sum(counts) * self.descriptor_s

    def __str__(self) -> str:
        controls = f" and {self.controls} of the base for control" if self.controls else ""
        return "\n".join(
            [
                f"pictures   {self.generations}{controls}, {self.steps} steps each",
                f"time       about {duration_words(self.seconds)} at most "
                f"({self.picture_s:.2g} s a picture, {self.workers} at once)",
            ]
        )


def in_a_row(count: int, batch: int, workers: int) -> int:
    """Pictures that the busiest worker draws one after the other.

    They are drawn in rounds of some batches, and a round ends with its last batch, though other workers be idle.

    Args:
        count: pictures of all workers, 0 or more.
        batch: pictures that a worker draws at once, 1 or more.
        workers: processes, 1 or more.
    """
    sizes = [min(batch, count - first) for first in range(0, count, batch)]
    a_round = batches_a_round(batch)
    return sum(sum(sizes[first : first + a_round : workers]) for first in range(0, len(sizes), a_round))


def make_plan(method: Extractor, inputs: ExtractionInputs, *, controlled: bool, workers: int) -> ExtractionPlan:
    """The cost of an extraction, from the time of a few steps of one small batch, a decoding, and descriptors."""
    count, steps = min(method.batch, method.generations, PROBED_PICTURES), min(PROBED_STEPS, method.steps)
    suspect = inputs.suspect
    models = SharedModels(here=(suspect, inputs.base))
    draw = GenerateBatch(models, replace(method, steps=steps), method.guide, inputs.prompted)
    batch = SeedBatch(tuple(range(count)), ("",) * count)
    side = suspect.resolution // suspect.factor
    latents = torch.zeros(count, suspect.latent_channels, side, side, device=suspect.device)
    with _threads_of_a_worker(workers):
        drawn = seconds_of(lambda: draw(batch), suspect.device)
        with torch.no_grad():
            decoded = seconds_of(lambda: suspect.decode(latents), suspect.device)
    a_step = max(0.0, drawn - decoded) / steps
    none = torch.zeros(0, 3, suspect.resolution, suspect.resolution)  # of which the encoder answers for a blank one
    return ExtractionPlan(
        generations=method.generations,
        controls=method.generations if controlled else 0,
        steps=method.steps,
        workers=workers,
        batch=method.batch,
        picture_s=(decoded + method.steps * a_step) / count,
        descriptor_s=seconds_of(lambda: inputs.similarity.embed(none), suspect.device),
    )


@contextmanager
def _threads_of_a_worker(workers: int) -> Iterator[None]:
    """While the block runs, this process has as many threads as each of several workers on this machine."""
    before = torch.get_num_threads()
    if joined() is None:
        torch.set_num_threads(max(1, before // workers))
    try:
        yield
    finally:
        torch.set_num_threads(before)
