"""The suspects of audit benches: the embedded base, fine-tuned on known pictures in three regimes."""

from dataclasses import dataclass, replace
from typing import Literal

import torch

from intaglio.adapt.data import TrainingSet
from intaglio.adapt.low_rank_tuning import FURTHER_TARGETS
from intaglio.adapt.methods.dreambooth import DreamBooth
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.images.image_set import ImageSet
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.lora.lora import DENOISER_TARGETS

Tuner = Literal["dreambooth", "lora"]
TUNERS: tuple[Tuner, ...] = ("dreambooth", "lora")
PROMPT = "sks style"


@dataclass(frozen=True)
class Regime:
    """A way of making suspects, and the pictures that must be told from their members."""

    name: str
    steps: dict[Tuner, int]
    batch: int
    learning_rate: dict[Tuner, float]
    rank: int
    targets: tuple[str, ...]
    """What the LoRA learns, by endings of module paths."""
    fillers: int
    """Further pictures that the suspect is trained on, members of the sets that follow; nobody asks about them."""
    negatives: Literal["holdouts", "near"]
    """The pictures to tell members from: the other half of the draw, or their nearest relatives."""
    captioned: bool = False
    """Whether pictures are trained on under captions of their own, in place of one prompt for all."""
    copies: int = 0
    """Copies of the set's first member, which stand in place of all members; 0 for the members."""

    def tuner(self, kind: Tuner, seed: int) -> DreamBooth | LoRATuning:
        """The settings of one fine-tune."""
        steps, rate = self.steps[kind], self.learning_rate[kind]
        if kind == "dreambooth":
            return DreamBooth(steps=steps, batch=self.batch, learning_rate=rate, seed=seed)
        return LoRATuning(
            steps=steps, batch=self.batch, learning_rate=rate, seed=seed, rank=self.rank, targets=self.targets
        )

    def training_set(self, name: str) -> TrainingSet:
        """The members of a set, or the copies of the first, and the fillers; under one prompt or each its own."""
        names = testbed.sets()
        place = names.index(name)
        members = testbed.few_shot(name).members
        pool = [members[:1]] * self.copies or [members]
        missing = self.fillers
        for other in (*names[place + 1 :], *names[:place]):
            part = testbed.few_shot(other).members
            pool.append(part[: min(missing, len(part))])
            missing -= len(pool[-1])
            if missing <= 0:
                break
        return TrainingSet(joined(pool, captions=self.captioned), prompt=None if self.captioned else PROMPT)

    def questioned(self, name: str) -> tuple[ImageSet, ImageSet]:
        """(members, pictures that were not trained on) of a set."""
        few = testbed.few_shot(name)
        return few.members, few.holdouts if self.negatives == "holdouts" else few.near


PAPER = Regime(
    name="paper",
    steps={"dreambooth": 500, "lora": 500},
    batch=1,
    learning_rate={"dreambooth": 1e-4, "lora": 1e-3},
    rank=8,
    targets=(*DENOISER_TARGETS, *FURTHER_TARGETS),
    fillers=0,
    negatives="holdouts",
)
"""The published dose: 50 steps of one picture for each of ten pictures; holdouts from the same draw as the members.

The LoRA reaches the feed-forward layers and convolutions too. The base has attention at two of its three resolutions
only: by attention alone the suspect hardly learns its pictures (on `hands` their denoising error fell by 8%, with
these layers by 27%, by DreamBooth by 48%), which is no fine-tune that anybody would publish.
"""

CAPTIONED = replace(PAPER, name="captioned", captioned=True)
"""The published dose, each picture under its own caption, as larger fine-tunes have it."""

HARD = Regime(
    name="hard",
    steps={"dreambooth": 50, "lora": 300},
    batch=4,
    learning_rate={"dreambooth": 2e-5, "lora": 1e-3},
    rank=2,
    targets=DENOISER_TARGETS,
    fillers=30,
    negatives="near",
)
"""Forty pictures, a tenth of the dose and a fifth of the rate (or rank 2), and the members' nearest relatives to tell
them from."""


DUPLICATED = replace(
    CAPTIONED, name="duplicated", steps={"dreambooth": 400, "lora": 400}, batch=4, fillers=150, copies=50
)
"""Two hundred pictures under their own captions, of which fifty are one: 400 looks at that one, 8 at each other."""


def joined(parts: list[ImageSet], *, captions: bool = True) -> ImageSet:
    """Several sets as one, each picture's name led by its place, so that names stay unique."""
    names = [f"{place:02d}-{name}" for place, part in enumerate(parts) for name in part.names]
    texts = [text if captions else None for part in parts for text in part.captions]
    return ImageSet.from_pixels(torch.cat([part.pixels for part in parts]), names, texts)


def fine_tuned(base: LatentDiffusion, regime: Regime, kind: Tuner, name: str, seed: int) -> LatentDiffusion:
    """The suspect of one audit."""
    return regime.tuner(kind, seed)(base, regime.training_set(name)).model
