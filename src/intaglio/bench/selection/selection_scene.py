"""A choice of training pictures held against the truth: LoRAs tuned on what was chosen, and their losses."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from intaglio.adapt.data import TrainingSet
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.audit.selection.family import Selector
from intaglio.bench.kit.fixed_losses import measured
from intaglio.bench.kit.suspects import PAPER, joined
from intaglio.denoising.examples import Examples
from intaglio.images.image_set import ImageSet
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator
from intaglio.runs.run import Run

OTHERS = 2
"""Further sets whose members and holdouts are in the pool."""
TARGETS = 5
"""Pictures that are chosen for; as many others of their set are what a choice is judged by."""


@dataclass(frozen=True, eq=False)
class SelectionScene:
    """A set to be good at, and a pool in which ten pictures of it lie among forty of two other sets."""

    base: LatentDiffusion
    subject: str
    seed: int

    @cached_property
    def pool(self) -> ImageSet:
        """The subject's members first."""
        names = testbed.sets()
        place = names.index(self.subject)
        others = [names[(place + step) % len(names)] for step in range(1, OTHERS + 1)]
        parts = [part for name in others for part in (testbed.few_shot(name).members, testbed.few_shot(name).holdouts)]
        return joined([testbed.few_shot(self.subject).members, *parts])

    @property
    def own(self) -> range:
        """Places in the pool of the subject's own pictures."""
        return range(len(testbed.few_shot(self.subject).members))

    @property
    def targets(self) -> ImageSet:
        """Pictures that are chosen for."""
        return testbed.few_shot(self.subject).holdouts[list(range(TARGETS))]

    @property
    def judged(self) -> ImageSet:
        """Pictures of the same set that neither a method nor a training sees."""
        holdouts = testbed.few_shot(self.subject).holdouts
        return holdouts[list(range(TARGETS, len(holdouts)))]

    def at_random(self, number: int) -> list[int]:
        """As many places of the pool as there are own pictures, by chance."""
        order = torch.randperm(len(self.pool), generator=generator(self.seed, "random choice", self.subject, number))
        return sorted(order[: len(self.own)].tolist())

    def chosen(self, method: Selector, run: Run) -> dict[str, Any]:
        """The places that a method chooses, and its seconds."""
        began = time.monotonic()
        found = method(self.base, asked(self.base, self.pool), asked(self.base, self.targets), run=run)
        return {"places": sorted(found.places), "seconds": time.monotonic() - began}

    def figures(self, places: Sequence[int]) -> dict[str, Any]:
        """The judged pictures' mean loss after a LoRA was tuned on some of the pool, over the base's."""
        some = self.pool[list(places)]
        options = {"steps": 100, "batch": 4, "learning_rate": 1e-3, "rank": 8, "seed": self.seed}
        tuned = LoRATuning(**options, targets=PAPER.targets)(self.base, TrainingSet(some)).model
        return {
            "loss": mean_loss(tuned, self.judged) / self.before,
            "own": len(set(places) & set(self.own)) / len(places),
            "count": len(places),
        }

    @cached_property
    def before(self) -> float:
        """The base's own loss of the judged pictures."""
        return mean_loss(self.base, self.judged)


def asked(model: LatentDiffusion, images: ImageSet) -> Examples:
    """Pictures under their own captions."""
    return Examples.of(model, images, [str(caption) for caption in images.captions or ()])


def mean_loss(model: LatentDiffusion, images: ImageSet) -> float:
    """Mean denoising loss of pictures under their captions, at noises that all models share."""
    return float(measured(model, asked(model, images)).mean())
