"""Finders of blind spots: the contract of a method that reads concepts in pictures, and the test that they share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy.stats import false_discovery_control
from torch import Tensor
from torch.nn.functional import interpolate

from intaglio.errors import BadInput, require
from intaglio.explain.blindspots.concept_energies import EXTREMES, Rule, deltas, floor_of, log_ratios, ratio_intervals
from intaglio.explain.blindspots.pictured_pairs import PicturedPairs
from intaglio.explain.blindspots.result import BlindSpots, ConceptShift, Verdict
from intaglio.explain.layer_maps import layer_maps
from intaglio.images.image_set import ImageSet
from intaglio.metrics.statistics.paired_flips import flipped_p, smallest_p
from intaglio.models.scored_network import ScoredNetwork
from intaglio.randomness import generator
from intaglio.runs.picture_batches import content_order, in_batches
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.verbs import FileName

MOST_ROWS = 100_000
"""Places of all pictures that a method learns from, at most."""


@dataclass(frozen=True, eq=False)
class ReadCodes:
    """Codes of places by a fitted method."""

    codes: Callable[[Float[Tensor, "m c"]], Float[Tensor, "m k"]]
    """Of rows of features, 0 or more."""
    left: float | None = None
    """Share of the features' variance that they leave unexplained; None where the method rebuilds nothing."""


@dataclass(frozen=True, kw_only=True)
class BlindSpotFinder(ABC):
    """A way to find concepts that generated pictures have too rarely or too often, beside real ones of their prompts.

    Features are the maps of a layer of a network, a row a place. The energy of a concept is the mean over pictures of
    its codes, summed over places. A concept is suppressed or exaggerated where the energies differ in a test by swaps
    of real and generated within pairs, at a false-discovery rate (Benjamini and Hochberg), where their ratio is large
    enough, and where it stays so against real pictures that went through the model's autoencoder.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """The concepts in words, as the end of a sentence that begins "A concept is"."""
    states: ClassVar[tuple[str, ...]] = ("training",)
    """States of the run that a fit leaves."""

    layer: str = ""
    """Module of the network whose maps are taken, such as stages.2; empty takes the last one with more than one
    place."""
    rule: Rule = "share"
    """delta: share is the generated part of both energies, free of the codes' units; difference is the published
    1 / (1 + exp(-(E_gen - E_real) / temperature)), under 0.1 suppressed and over 0.9 exaggerated."""
    temperature: float = 0.8
    """Of `difference`, above 0, in units of the energies; the source gives no scaling for its own 0.8."""
    rate: float = 0.05
    """False-discovery rate of the concepts that are named, above 0 and below 1."""
    ratio: float = 1.5
    """Ratio of the energies from which on a concept is named by `share`, above 1."""
    flips: int = 9999
    """Random swaps of the test, from 99; all ways are counted where they are no more."""
    batch: int = 64
    """Pictures that go through the network together, from 1; the result is the same, up to its rounding."""
    seed: int = 0
    """Of all that is drawn, 0 to 2**32 - 1."""

    def __post_init__(self) -> None:
        require(0 < self.temperature < math.inf, f"temperature must be above 0, not {self.temperature}")
        require(0 < self.rate < 1, f"rate must lie between 0 and 1, not {self.rate}")
        require(1 < self.ratio < math.inf, f"ratio must be above 1, and finite, not {self.ratio}")
        require(self.flips >= 99, f"flips must be at least 99, not {self.flips}")
        require(self.batch >= 1, f"batch must be at least 1, not {self.batch}")
        require(0 <= self.seed < 2**32, f"seed must be 0 to 2**32 - 1, not {self.seed}")

    @abstractmethod
    def fit(self, features: Float[Tensor, "m c"], run: Run) -> ReadCodes:
        """Codes, learnt from features of places of real and generated pictures in an order that does not tell them."""

    def __call__(self, scored: ScoredNetwork, pairs: PicturedPairs, *, run: Run = Run.none()) -> BlindSpots:
        """The concepts of pairs of pictures, the most suppressed first.

        Args:
            scored: left as it was found.
            pairs: two or more.
            run: progress, records and states; a killed call goes on.

        Raises:
            BadInput: for fewer than two pairs, a layer that there is not, and too few places for the concepts.
            IntaglioError: for numbers that are not finite.
        """
        if len(pairs) < 2:
            raise BadInput(f"energies are compared over pairs of pictures, and there is {len(pairs)}; give 2 or more")
        sums, left = self.sums(scored, pairs.both, pairs.whole, run)
        parts = {name: sums[pairs.places(name)].double().numpy() for name in pairs.parts}
        return self.compared(pairs, parts, left, self._layer(scored))

    def sums(
        self, scored: ScoredNetwork, learnt: ImageSet, asked: ImageSet, run: Run = Run.none()
    ) -> tuple[Float[Tensor, "n k"], float | None]:
        """Codes of each asked picture, summed over its places, by a fit on others; and what the fit leaves unexplained.

        Args:
            scored: left as it was found.
            learnt: pictures to fit on.
            asked: n pictures to read, of any number.
            run: as of a call.
        """
        layer = self._layer(scored)
        fitted = self.fit(self._features(scored, layer, learnt), run)

        def read(images: ImageSet) -> dict[str, list[float]]:
            maps = layer_maps(scored, layer, _sized(images.pixels, scored.side)).float()
            rows = maps.flatten(2).transpose(1, 2)
            found = fitted.codes(rows.flatten(0, 1)).unflatten(0, rows.shape[:2]).sum(1)
            return {str(k): column.tolist() for k, column in enumerate(found.T)}

        key = digest([self.name, asdict(self), layer, scored.hash, sorted(learnt.hashes)])
        found = in_batches(run, self.name, key, asked, read, batch=self.batch)
        return torch.stack([found[str(k)] for k in range(len(found))], 1), fitted.left

    def compared(
        self, pairs: PicturedPairs, sums: dict[str, Float[ndarray, "n k"]], left: float | None, layer: str
    ) -> BlindSpots:
        """The result of codes that are summed over each picture, by part of the pairs: real, generated, decoded."""
        live = np.flatnonzero((sums["real"] + sums["generated"]).sum(0) > 0)
        parts = {name: values[:, live] for name, values in sums.items()}
        real, generated = parts["real"], parts["generated"]
        energies = {name: values.mean(0) for name, values in parts.items()}
        floor = floor_of(energies["real"], energies["generated"])
        apart = log_ratios(energies["real"], energies["generated"], floor)
        delta = deltas(energies["real"], energies["generated"], self.rule, self.temperature)
        ends = ratio_intervals(real, generated, floor, self.seed)
        p = flipped_p(generated - real, self.flips, self.seed)
        q = false_discovery_control(p) if len(p) else p
        decoded = energies.get("decoded")
        control = None if decoded is None else log_ratios(energies["real"], decoded, floor)
        shifts = tuple(
            ConceptShift(
                number=int(live[k]),
                verdict=self._verdict(
                    float(delta[k]), float(apart[k]), float(q[k]), None if control is None else float(control[k])
                ),
                delta=float(delta[k]),
                log_ratio=float(apart[k]),
                interval=(float(ends[0, k]), float(ends[1, k])),
                p=float(p[k]),
                q=float(q[k]),
                control=None if control is None else float(control[k]),
                real=float(energies["real"][k]),
                generated=float(energies["generated"][k]),
                **pairs.told(real[:, k], generated[:, k]),
            )
            for k in np.lexsort((np.arange(len(live)), delta))
        )
        return BlindSpots(
            method=self.name,
            reading=self.reading,
            layer=layer,
            rule=self.rule,
            rate=self.rate,
            ratio=self.ratio,
            pairs=len(pairs),
            dead=len(sums["real"].T) - len(live),
            left=left,
            smallest_p=smallest_p(len(pairs), self.flips),
            shifts=shifts,
            copied=pairs.copied(real, generated),
            sums={name: torch.from_numpy(values).float() for name, values in sums.items()},
        )

    def _verdict(self, delta: float, apart: float, q: float, control: float | None) -> Verdict:
        """By the rule, the rate and the ratio, against the real pictures and against the decoded ones."""
        far = delta < EXTREMES[0] or delta > EXTREMES[1] if self.rule == "difference" else abs(apart) >= self.log_least
        if q > self.rate or not far or apart == 0:
            return ""
        rest = apart if control is None else apart - control
        if control is not None and (rest * apart <= 0 or abs(rest) < self.log_least):
            return "autoencoder"
        return "suppressed" if apart < 0 else "exaggerated"

    @property
    def log_least(self) -> float:
        """Natural logarithm of `ratio`."""
        return math.log(self.ratio)

    def _layer(self, scored: ScoredNetwork) -> str:
        scored.check_layers()
        layer = self.layer or scored.layers[-1]
        scored.layer(layer)
        return layer

    def _features(self, scored: ScoredNetwork, layer: str, images: ImageSet) -> Float[Tensor, "m c"]:
        """Rows of the layer's maps, in an order by content; of each picture some places, drawn by it, where many."""
        ordered = images[content_order(images)]
        most, found = max(1, MOST_ROWS // len(ordered)), list[Tensor]()
        for first in range(0, len(ordered), self.batch):
            part = ordered[first : first + self.batch]
            maps = layer_maps(scored, layer, _sized(part.pixels, scored.side)).float()
            for rows, content in zip(maps.flatten(2).transpose(1, 2), part.hashes, strict=True):
                chosen = torch.randperm(len(rows), generator=generator(self.seed, "places", content))[:most]
                found.append(rows if len(rows) <= most else rows[chosen.sort().values])
        return torch.cat(found)


def _sized(pixels: Float[Tensor, "n 3 h w"], side: int) -> Float[Tensor, "n 3 s s"]:
    """Pictures of the side that the network is meant for."""
    if tuple(pixels.shape[-2:]) == (side, side):
        return pixels
    return interpolate(pixels, (side, side), mode="bilinear", align_corners=False, antialias=True)
