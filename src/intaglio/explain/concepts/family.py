"""Concept finders: the contract of a method that finds directions of features, and how much a class owes to each."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import interpolate

from intaglio.errors import BadInput, IntaglioError, require
from intaglio.explain.concepts.concept_parts import Division, crops_with_most, left_share
from intaglio.explain.concepts.picture_crops import CropBox, PictureCrops, picture_crops
from intaglio.explain.concepts.result import ConceptPart, Concepts, Example, FoundConcept
from intaglio.explain.concepts.total_effects import total_effects
from intaglio.explain.layer_maps import layer_maps, scores_with_maps
from intaglio.images.image_set import ImageSet
from intaglio.metrics.statistics.interval import interval
from intaglio.models.scored_network import ScoredNetwork
from intaglio.randomness import seed_32bit
from intaglio.runs.picture_batches import in_batches
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.verbs import FileName

FEWEST = 2
"""Pictures, at least."""
EXAMPLES = 8
"""Crops of a concept that are kept."""
SHOWN = 3
"""Pictures of a concept whose maps are kept."""


@dataclass(frozen=True, kw_only=True)
class ConceptFinder(ABC):
    """A way to find concepts: k directions of a layer's features that parts of pictures share.

    Pictures are cut into crops, each brought to the picture's size; their features are the layer's maps, averaged over
    places. The method gives a bank of k unit directions, and the codes of features in it. A concept's importance is its
    total Sobol' index: each picture's maps are rebuilt from its codes with the concepts weakened by random factors in
    [0, 1], and the index is the share of the score's variance that is left when all factors but this one are known, as
    a mean over pictures.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """The directions in words, as the end of a sentence that begins "A concept is"."""

    count: int = 10
    """Concepts k, from 1; at most the layer's channels."""
    layer: str = ""
    """Module of the network whose maps are taken, such as stages.3, none of which may be below 0; empty takes the last
    one with more than one place."""
    points: int = 32
    """Random factors of each picture, a power of two: the importances' noise falls with them."""
    batch: int = 64
    """Pictures that go through the network together, from 1; the result is the same, up to its rounding."""
    seed: int = 0
    """Seed of what is drawn, from 0."""

    def __post_init__(self) -> None:
        for name in ("count", "batch"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        power = self.points >= 2 and self.points & (self.points - 1) == 0
        require(power, f"points must be a power of two from 2, not {self.points}")
        require(0 <= self.seed < 2**32, f"seed must be 0 to 2**32 - 1, not {self.seed}")

    @property
    def division(self) -> Division | None:
        """Division of concepts into parts by an earlier layer; None where they stay whole."""
        return None

    @abstractmethod
    def bank(self, features: Float[ndarray, "n c"]) -> Float[ndarray, "k c"]:
        """Directions of unit length, of features that are 0 or more."""

    @abstractmethod
    def codes(self, features: Float[ndarray, "n c"], bank: Float[ndarray, "k c"]) -> Float[ndarray, "n k"]:
        """Codes u of features, so that u W is near them."""

    @abstractmethod
    def slopes(self, code: Float[ndarray, "k"], bank: Float[ndarray, "k c"]) -> Float[ndarray, "k c"]:
        """Derivatives of one row's codes by its features."""

    def __call__(self, scored: ScoredNetwork, images: ImageSet, target: int, *, run: Run = Run.none()) -> Concepts:
        """The concepts of pictures, by their importance for the score of one class.

        Args:
            scored: left as it was found.
            images: two or more, of the class better some hundred.
            target: place of the class.
            run: progress and records; a killed call goes on after the last picture.

        Raises:
            BadInput: for too few pictures, none with ink, a layer that there is not or that goes below 0, for more
                concepts than channels or crops, and for parts of too few crops.
            IntaglioError: for numbers that are not finite.
        """
        if len(images) < FEWEST:
            raise BadInput(f"concepts are what pictures share, and there is {len(images)}; give {FEWEST} or more")
        layer, earlier = self.layers_of(scored)
        division = self.division
        crops = picture_crops(images.pixels)
        features = self._features(scored, layer, crops)
        if self.count > min(features.shape):
            few = f"{features.shape[0]} crops of {features.shape[1]} channels"
            raise BadInput(f"{few} have no {self.count} concepts; give a smaller --count, or more pictures")
        early = self._features(scored, earlier, crops) if division else features
        if division:
            division.check(*early.shape)
        bank = self.bank(features)
        codes = self.codes(features, bank)
        key = digest([self.name, layer, scored.hash, target, self.points, self.seed, bank.round(6).tolist()])
        effects = in_batches(run, self.name, key, images, lambda one: self._effects(scored, layer, one, target, bank))
        importance = np.stack([effects[str(k)].numpy() for k in range(len(bank))], 1)
        if not np.isfinite(importance).all():
            raise IntaglioError(f"{self.name} gives numbers that are not finite; check the network's file")
        left = ((features - codes @ bank) ** 2).sum() / ((features - features.mean(0)) ** 2).sum()
        order = np.argsort(-importance.mean(0), kind="stable")
        found = tuple(
            FoundConcept(
                float(importance[:, k].mean()), interval(lambda drawn: drawn.mean(-1), [importance[:, k]]),
                *self._views(scored, layer, images, crops.boxes, codes[:, k], bank, int(k)),
            )
            for k in order
        )  # fmt: skip
        if division:
            found = self._divided(found, division, early, codes[:, order], scored, earlier, images, crops.boxes)
        return Concepts(
            self.name, self.reading, scored.head, scored.classes[target], layer, len(crops.boxes), float(left), found,
            torch.from_numpy(bank[order]).float(), earlier,
        )  # fmt: skip

    def layers_of(self, scored: ScoredNetwork) -> tuple[str, str]:
        """The layer of the concepts, and that of their parts, or none. Raises `BadInput` for one that there is not."""
        scored.check_layers()
        layer = self.layer or scored.layers[-1]
        scored.layer(layer)
        return layer, self.division.layer_before(scored, layer) if self.division else ""

    def _features(self, scored: ScoredNetwork, layer: str, crops: PictureCrops) -> Float[ndarray, "n c"]:
        """Features of crops at a layer. Raises `BadInput` where concepts cannot be made of them."""
        features = self._pooled(scored, layer, crops.pixels)
        if not len(features):
            raise BadInput("the pictures have no part that differs from its border; give pictures of something")
        if features.min() < 0:
            raise BadInput(f"layer {layer} goes below 0, and concepts are of layers that do not; name one after a ReLU")
        return features

    def _divided(
        self,
        found: Sequence[FoundConcept],
        division: Division,
        features: Float[ndarray, "n c"],
        codes: Float[ndarray, "n k"],
        scored: ScoredNetwork,
        layer: str,
        images: ImageSet,
        boxes: Sequence[CropBox],
    ) -> tuple[FoundConcept, ...]:
        """The concepts, the widest of them with parts, by features of an earlier layer of all crops."""
        tops = {number: crops_with_most(codes[:, number]) for number in range(len(found))}
        spreads, wide = division.widest(tops, features)
        whole = [replace(one, spread=spreads[number]) for number, one in enumerate(found)]
        for number in wide:
            rows = features[tops[number]]
            bank = replace(self, count=division.parts).bank(rows)
            own = self.codes(rows, bank)
            most, those = own.argmax(1), [boxes[k] for k in tops[number]]
            parts = list[ConceptPart]()
            for part in np.argsort(-np.bincount(most, minlength=len(bank)), kind="stable").tolist():
                its = np.flatnonzero((most == part) & (own[:, part] > 0))
                if len(its):
                    views = self._views(scored, layer, images, [those[k] for k in its], own[its, part], bank, part)
                    parts.append(ConceptPart(len(its) / len(rows), *views, torch.from_numpy(bank[part]).float()))
            if len(parts) > 1:
                whole[number] = replace(whole[number], spread_left=left_share(rows, own, bank), parts=tuple(parts))
        return tuple(whole)

    @torch.no_grad()
    def _pooled(self, scored: ScoredNetwork, layer: str, pixels: Float[Tensor, "m 3 h w"]) -> Float[ndarray, "m c"]:
        """Means of the layer's maps over places."""
        parts = [layer_maps(scored, layer, one).mean((2, 3)) for one in pixels.split(self.batch)]
        return torch.cat(parts).double().numpy() if parts else np.zeros((0, 1))

    def _effects(
        self, scored: ScoredNetwork, layer: str, images: ImageSet, target: int, bank: Float[ndarray, "k c"]
    ) -> dict[str, list[float]]:
        """Total index of each concept for each picture, by the concept's number."""
        rows = []
        for pixels, content in zip(images.pixels, images.hashes, strict=True):
            maps = layer_maps(scored, layer, pixels[None])[0]
            places = maps.flatten(1).T.double().numpy()
            codes = self.codes(places, bank)

            def score(factors: Float[ndarray, "m k"]) -> Float[ndarray, "m"]:
                rebuilt = torch.from_numpy((factors[:, None] * codes) @ bank).float()  # noqa: B023 - called at once
                whole = rebuilt.transpose(1, 2).unflatten(2, maps.shape[1:])  # noqa: B023
                return scores_with_maps(scored, layer, pixels, whole, target, self.batch)  # noqa: B023

            rows.append(total_effects(score, len(bank), self.points, seed_32bit(self.seed, "concepts", content)))
        return {str(k): [float(row[k]) for row in rows] for k in range(len(bank))}

    def _views(
        self,
        scored: ScoredNetwork,
        layer: str,
        images: ImageSet,
        boxes: Sequence[CropBox],
        codes: Float[ndarray, "n"],
        bank: Float[ndarray, "k c"],
        number: int,
    ) -> tuple[tuple[Example, ...], tuple[str, ...], Float[Tensor, "s h w"]]:
        """The crops of the largest codes of a concept, some of the pictures that they come from, and its maps."""
        best = np.argsort(-codes, kind="stable")[:EXAMPLES]
        examples = tuple((images.names[boxes[k].picture], *boxes[k][1:], float(codes[k])) for k in best)
        shown = list(dict.fromkeys(boxes[k].picture for k in best))[:SHOWN]
        maps = torch.stack([self._map(scored, layer, images.pixels[place], bank, number) for place in shown])
        return examples, tuple(images.names[place] for place in shown), maps

    def _map(
        self,
        scored: ScoredNetwork,
        layer: str,
        pixels: Float[Tensor, "3 h w"],
        bank: Float[ndarray, "k c"],
        number: int,
    ) -> Float[Tensor, "h w"]:
        """Places of a picture that its code of a concept comes from: Grad-CAM of the code of the mean maps."""
        maps = layer_maps(scored, layer, pixels[None])[0].double()
        mean = maps.mean((1, 2)).numpy()
        slopes = self.slopes(self.codes(mean[None], bank)[0], bank)[number]
        raw = torch.einsum("c,chw->hw", torch.from_numpy(slopes), maps).clamp(min=0).float()
        return interpolate(raw[None, None], tuple(pixels.shape[1:]), mode="bilinear", align_corners=False)[0, 0]
