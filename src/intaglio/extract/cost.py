"""Estimated cost of an extraction: pictures and seconds, before the first picture."""

import time
from dataclasses import dataclass, replace

from intaglio.amounts import duration_words
from intaglio.extract.family import Extractor
from intaglio.extract.generate import GenerateBatch, SeedBatch
from intaglio.extract.inputs import ExtractionInputs
from intaglio.models.worker_copies import SharedModels

PROBED_STEPS = 2
"""Sampling steps of the pictures that are timed."""


@dataclass(frozen=True)
class ExtractionPlan:
    """Counts and seconds of an extraction; `str()` gives them as text for the user."""

    generations: int
    controls: int
    steps: int
    workers: int
    picture_s: float
    """Seconds for a picture on one worker, timed on one small batch."""

    @property
    def seconds(self) -> float:
        """Seconds for all pictures, without stopping early."""
        return (self.generations + self.controls) * self.picture_s / self.workers

    def __str__(self) -> str:
        controls = f" and {self.controls} of the base for control" if self.controls else ""
        return "\n".join(
            [
                f"pictures   {self.generations}{controls}, {self.steps} steps each",
                f"time       about {duration_words(self.seconds)} at most "
                f"({self.picture_s:.2g} s a picture, {self.workers} at once)",
            ]
        )


def make_plan(method: Extractor, inputs: ExtractionInputs, *, controlled: bool, workers: int) -> ExtractionPlan:
    """The cost of an extraction, from the time of a few steps of one small batch."""
    count = min(method.batch, method.generations, 4)
    steps = min(PROBED_STEPS, method.steps)
    models = SharedModels(here=(inputs.suspect, inputs.base))
    draw = GenerateBatch(models, replace(method, steps=steps), method.guide, inputs.prompted)
    batch = SeedBatch(tuple(range(count)), ("",) * count)
    draw(batch)
    began = time.monotonic()
    draw(batch)
    picture_s = (time.monotonic() - began) / count * method.steps / steps
    return ExtractionPlan(method.generations, method.generations if controlled else 0, method.steps, workers, picture_s)
