"""Models trained again on parts of a set, of which the losses are kept: the truth that influences are held against.

Forty members of four few-shot sets, under their own captions; each model is the embedded base with a LoRA tuned on some
of them. `recipes/emoji64/retrain_subsets.py` makes the file that ships, `testbed/influence/retrained.npz`.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from intaglio.adapt.data import TrainingSet
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.bench.kit.suspects import PAPER, joined
from intaglio.denoising.examples import Examples
from intaglio.errors import IntaglioError
from intaglio.images.image_set import ImageSet
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator

SETS = ("meals", "roles", "vehicles", "places")
DRAWN = 20
"""Pictures drawn by the model of all members that are asked about too."""
SUBSETS, FULL, LEFT_OUT_SEEDS = 96, 32, 4
FIRST, SECOND = 48, 24
"""Half subsets whose first and second seed come first, so that a file made in part serves already."""

Kind = Literal["full", "half", "without"]


@dataclass(frozen=True)
class Retraining:
    """One model: which members it is tuned on, and by which seed."""

    kind: Kind
    place: int
    """Number of the half subset, or of the member that is left out; 0 for the model of all."""
    seed: int

    @property
    def key(self) -> str:
        return f"{self.kind}-{self.place:02d}-{self.seed:02d}"

    @property
    def kept(self) -> Bool[np.ndarray, "members"]:
        """Whether each member is trained on."""
        count = len(members())
        kept = np.ones(count, bool)
        if self.kind == "half":
            order = torch.randperm(count, generator=generator(self.place, "half subset"))
            kept[order[count // 2 :].numpy()] = False
        elif self.kind == "without":
            kept[self.place] = False
        return kept

    def model(self, base: LatentDiffusion) -> LatentDiffusion:
        """The base with the LoRA tuned on them."""
        some = members()[np.flatnonzero(self.kept).tolist()]
        tuner = LoRATuning(steps=100, batch=4, learning_rate=1e-3, rank=8, targets=PAPER.targets, seed=self.seed)
        return tuner(base, TrainingSet(some)).model


def retrainings() -> list[Retraining]:
    """Every model in the order of making: those that a bench needs first, first."""
    half = [(place, 0) for place in range(FIRST)] + [(place, 1) for place in range(SECOND)]
    half += [(place, 0) for place in range(FIRST, SUBSETS)] + [(place, 1) for place in range(SECOND, SUBSETS)]
    full = [Retraining("full", 0, seed) for seed in range(FULL)]
    without = [Retraining("without", place, seed) for seed in range(LEFT_OUT_SEEDS) for place in range(len(members()))]
    return [full[0], *(Retraining("half", *one) for one in half), *full[1:], *without]


@cache
def members() -> ImageSet:
    """The pictures that are trained on, with their captions."""
    return joined([testbed.few_shot(name).members for name in SETS])


@cache
def holdouts() -> ImageSet:
    """As many of the same sets that no model was trained on."""
    return joined([testbed.few_shot(name).holdouts for name in SETS])


def drawn_prompts() -> tuple[str, ...]:
    """The captions under which pictures are drawn: of every second member."""
    return tuple(str(caption) for caption in (members().captions or ())[:: len(members()) // DRAWN])


def asked(model: LatentDiffusion, drawn: ImageSet) -> Examples:
    """Members, holdouts and drawn pictures, in this order, as a model of the base's family is asked about them."""
    images = joined([members(), holdouts(), drawn])
    return Examples.of(model, images, [str(caption) for caption in images.captions or ()])


@dataclass(frozen=True, eq=False)
class RetrainedLosses:
    """Losses of members, holdouts and drawn pictures under r models, each trained on some of the members."""

    kinds: tuple[str, ...]
    """`half`, `full` or `without`, of each model."""
    places: Int[np.ndarray, "r"]
    seeds: Int[np.ndarray, "r"]
    kept: Bool[np.ndarray, "r members"]
    losses: Float[np.ndarray, "r asked"]
    drawn: UInt8[Tensor, "d 3 h w"]
    """The drawn pictures."""

    def of(self, kind: Kind) -> Bool[np.ndarray, "r"]:
        """The models of a kind, marked."""
        return np.array([one == kind for one in self.kinds])

    @property
    def drawn_images(self) -> ImageSet:
        """The drawn pictures under the captions that they were drawn from."""
        names = [f"drawn-{place:02d}.png" for place in range(len(self.drawn))]
        return ImageSet.from_pixels(self.drawn.float() / 255, names, list(drawn_prompts()[: len(names)]))

    @classmethod
    def shipped(cls) -> "RetrainedLosses":
        """The file of the testbed. Raises `IntaglioError` where it was not installed."""
        return cls.load(testbed.retrained_path())

    @classmethod
    def load(cls, path: Path) -> "RetrainedLosses":
        """A file of the recipe's."""
        with np.load(path, allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
        kinds = tuple(str(kind) for kind in found["kinds"])
        if not len(kinds) == len(found["losses"]) == len(found["kept"]):
            raise IntaglioError(f"{path} is damaged; make it again with recipes/emoji64/retrain_subsets.py")
        pixels = torch.from_numpy(found["drawn"])
        return cls(kinds, found["places"], found["seeds"], found["kept"], found["losses"], pixels)
