"""Shared parts of scenes of the bench of blind spots: pairs drawn by a model, concepts of each side, and figures."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.stats import false_discovery_control, mannwhitneyu
from torch import Tensor

from intaglio.denoising.examples import Examples
from intaglio.explain.blindspots.concept_energies import DRAWS, floor_of, log_ratios
from intaglio.explain.blindspots.family import BlindSpotFinder
from intaglio.explain.blindspots.pictured_pairs import PicturedPairs
from intaglio.images.image_set import ImageSet, to_uint8
from intaglio.metrics.statistics.roc import auc, row_aucs
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.scored_network import ScoredClassifier, classifier_score
from intaglio.randomness import numpy_generator
from intaglio.runs.run import Run
from intaglio.sampling.loop import decoded_at_once
from intaglio.sampling.trained.own_latents import own_latents

STEPS, BATCH = 30, 8
"""Steps of DDIM, and pictures drawn at once."""
SPECIFIC, RATE = 2.0, 0.05
"""Ratio of energies from which on a concept is one side's, and the false-discovery rate at which it must be."""


@dataclass(frozen=True, eq=False)
class Unseen(ABC):
    """Pairs of real pictures and a model's drawings of their captions, and pictures that tell concepts apart."""

    head: ClassVar[str]
    """Head of the embedded classifier, whose last maps are looked at."""

    model: LatentDiffusion
    pairs: int
    seed: int

    @property
    @abstractmethod
    def real(self) -> ImageSet:
        """Real pictures of the pairs, with captions."""

    @property
    @abstractmethod
    def apart(self) -> tuple[ImageSet, ImageSet]:
        """Pictures outside the pairs: of what was never seen, and of what the model knows."""

    @cached_property
    def scored(self) -> ScoredClassifier:
        """The embedded classifier."""
        return classifier_score(testbed.classifier(), self.head)

    @cached_property
    def decoded(self) -> Float[Tensor, "n 3 h w"]:
        """The real pictures after the model's autoencoder."""
        return self._pixels(Examples.of(self.model, self.real, [one or "" for one in self.real.captions]).latents)

    def drawn(self, scale: float, run: Run, name: str) -> PicturedPairs:
        """The pairs at a guidance scale, drawn by the model; the run keeps drawings under a name."""
        options: dict[str, Any] = {"steps": STEPS, "scale": scale, "batch": BATCH, "seed": self.seed}
        prompts = [caption or "" for caption in self.real.captions]
        latents = own_latents(self.model, prompts, self.pairs, **options, run=run, name=name)
        parts = {"real": self.real.pixels, "generated": self._pixels(latents), "decoded": self.decoded}
        return PicturedPairs(self.real.names, parts)  # pyright: ignore[reportArgumentType]

    def row(
        self, method: BlindSpotFinder, pairs: PicturedPairs, others: Float[Tensor, "n 3 h w"] | None = None
    ) -> dict[str, Any]:
        """All figures of a method on pairs of real and generated pictures, with the real ones decoded as control.

        `others` are another model's drawings of the captions, which these are compared with in place of the real ones.
        """
        own, known = self.apart
        asked = joined(pairs.whole, own, known, *([] if others is None else [ImageSet.from_pixels(others)]))
        sums, left = method.sums(self.scored, pairs.both, asked)
        codes = sums.double().numpy()
        parts = {name: codes[pairs.places(name)] for name in pairs.parts}
        first = len(pairs.whole)
        ours, theirs = specific(*np.split(codes[first : first + len(own) + len(known)], [len(own)]))
        found = method.compared(pairs, parts, left, method.layer)
        verdicts = {one.number: one.verdict for one in found.shifts}
        separated = separation_of(parts["real"], parts["generated"], ours, theirs, self.seed)
        control = separation_of(parts["real"], parts["decoded"], ours, theirs, self.seed)
        beyond = separation_of(parts["decoded"], parts["generated"], ours, theirs, self.seed)
        against = None
        if others is not None:
            against = separation_of(codes[-len(others) :], parts["generated"], ours, theirs, self.seed)
        return {
            "auc": separated,
            "against": against,
            "control": control,
            "beyond": beyond,
            "first_ten": first_of(parts["real"], parts["generated"], ours),
            "unseen": int(ours.sum()),
            "known": int(theirs.sum()),
            "suppressed": share(verdicts, ours, "suppressed"),
            "exaggerated": share(verdicts, theirs, "exaggerated"),
            "unseen_exaggerated": share(verdicts, ours, "exaggerated"),
            "known_suppressed": share(verdicts, theirs, "suppressed"),
            **{name: value for name, value in found.figures().items() if name in ("pairs", "concepts", "dead", "left")},
            "suppressed_all": len(found.found("suppressed")),
            "exaggerated_all": len(found.found("exaggerated")),
            "by_autoencoder": len(found.found("autoencoder")),
        }

    def _pixels(self, latents: Float[Tensor, "n c hl wl"]) -> Float[Tensor, "n 3 h w"]:
        """Pictures of latents as their 8-bit files have them."""
        with torch.no_grad(), self.model.frozen():
            parts = latents.split(decoded_at_once(self.model, latents))
            pixels = torch.cat([self.model.decode(part.to(self.model.device)).cpu() for part in parts])
        return to_uint8(pixels).float() / 255


def specific(own: Float[ndarray, "n k"], known: Float[ndarray, "m k"]) -> tuple[Bool[ndarray, "k"], Bool[ndarray, "k"]]:
    """Concepts of either side's pictures: of twice the other side's energy, and of higher ranks (Mann-Whitney).

    Energies are floored as in the comparison; ranks must lie on the side that the energies do.
    """
    live = (own.sum(0) + known.sum(0)) > 0
    energies = [np.where(live, one.mean(0), 0) for one in (own, known)]
    apart = log_ratios(energies[1], energies[0], floor_of(*energies))
    p, higher = np.ones(len(live)), np.zeros(len(live), bool)
    ranks = mannwhitneyu(own[:, live], known[:, live], axis=0)
    p[live], higher[live] = ranks.pvalue, 2 * ranks.statistic > len(own) * len(known)
    sure = live & (false_discovery_control(p) <= RATE)
    return sure & higher & (apart >= np.log(SPECIFIC)), sure & ~higher & (apart <= -np.log(SPECIFIC))


def separation_of(
    real: Float[ndarray, "n k"],
    other: Float[ndarray, "n k"],
    ours: Bool[ndarray, "k"],
    theirs: Bool[ndarray, "k"],
    seed: int,
) -> list[float | None]:
    """AUC by which the log ratio puts concepts that are known above those never seen, with its 95% over pairs."""
    floor = floor_of(real.mean(0), other.mean(0))
    apart = log_ratios(real.mean(0), other.mean(0), floor)
    if (whole := auc(apart[theirs], apart[ours])) is None:
        return [None, None, None]
    weights = numpy_generator(seed, 2).multinomial(len(real), np.full(len(real), 1 / len(real)), DRAWS) / len(real)
    drawn = log_ratios(weights @ real, weights @ other, floor)
    low, high = np.quantile(row_aucs(drawn[:, theirs], drawn[:, ours]), [0.025, 0.975])
    return [whole, float(low), float(high)]


def first_of(
    real: Float[ndarray, "n k"], other: Float[ndarray, "n k"], chosen: Bool[ndarray, "k"], count: int = 10
) -> int:
    """Chosen concepts among the first ones by what they lose of their energy."""
    energies = real.mean(0), other.mean(0)
    order = np.argsort(log_ratios(*energies, floor_of(*energies)), kind="stable")
    return int(chosen[order[:count]].sum())


def share(verdicts: dict[int, str], chosen: Bool[ndarray, "k"], verdict: str) -> float | None:
    """Share of chosen concepts that have a verdict; None where none are chosen."""
    numbers = np.flatnonzero(chosen).tolist()
    return sum(verdicts.get(one) == verdict for one in numbers) / len(numbers) if numbers else None


def joined(*sets: ImageSet) -> ImageSet:
    """Pictures of several sets in one, with captions, under numbers in place of names."""
    captions = [one for images in sets for one in images.captions or [None] * len(images)]
    return ImageSet.from_pixels(torch.cat([images.pixels for images in sets]), captions=captions)


def spread(images: ImageSet, count: int) -> ImageSet:
    """That many pictures of a set at equal distances of its order, from the first to the last."""
    return images[np.linspace(0, len(images) - 1, count).round().astype(int).tolist()]
