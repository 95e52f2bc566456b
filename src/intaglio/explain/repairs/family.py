"""Shortcut repairs: the contract of a method that changes a classifier so that a shortcut moves its scores no more."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput, IntaglioError, require
from intaglio.explain.probe_scores import folds_of
from intaglio.explain.repairs.result import LEAST, RepairedClassifier, ShortcutGap
from intaglio.explain.repairs.shortcut_pictures import ShortcutPictures
from intaglio.images.image_set import ImageSet
from intaglio.models.classifiers import PictureClassifier, save_classifier
from intaglio.models.scored_network import ScoredClassifier, ScoredNetwork, classifier_score
from intaglio.printable import one_line
from intaglio.randomness import numpy_generator
from intaglio.runs.picture_batches import content_order
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.verbs import FileName

NETWORK = "repaired.safetensors"
"""File of the repaired classifier in a run's folder."""
SHUFFLES = 500
"""Of the shortcut's values."""
Values = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Change:
    """A changed classifier, and what was changed."""

    network: PictureClassifier
    edges: tuple[tuple[str, str, float], ...] = ()
    """Source, target and effect of each edge that was cut."""
    share: float = 0.0
    """Share of the edges that were cut."""
    offset: float = 0.0
    """Number that was added to a class's bias."""


@dataclass(frozen=True, eq=False)
class Repair:
    """A repaired classifier, and how it fares beside the one that was given."""

    result: RepairedClassifier
    network: PictureClassifier

    def save(self, folder: Path) -> tuple[str, ...]:
        """Writes the result and the network, each atomically; returns the names of the files."""
        save_classifier(self.network, folder / NETWORK, {"repair": self.result.method})
        self.result.save(folder)
        return (self.result.file, self.result.table, NETWORK)


@dataclass(frozen=True, kw_only=True)
class ShortcutRepair(ABC):
    """A change of a classifier by pictures whose shortcut is known, such as a mark that goes with a class.

    A class with a value of the shortcut is a cell. One half of each cell's pictures chooses the change, the other half
    judges it: by the accuracy of each cell before and after, that of the worst, and the gap: how far the score of a
    class, the one that is moved furthest, rises from one value of the shortcut to the other, as a mean over classes of
    differences between pictures, so that whatever goes with the shortcut within a class counts as it. Cells of fewer
    than 5 judging pictures are not counted.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """The change in words, as the end of a sentence."""
    every_class: ClassVar[bool] = False
    """Whether it needs pictures of every class of the head."""

    batch: int = 64
    """Pictures that go through the network together, from 1; the result is the same, up to its rounding."""
    seed: int = 0
    """Seed of the halves and of what is drawn, 0 to 2**32 - 1."""

    def __post_init__(self) -> None:
        require(self.batch >= 1, f"batch must be at least 1, not {self.batch}")
        require(0 <= self.seed < 2**32, f"seed must be 0 to 2**32 - 1, not {self.seed}")

    @abstractmethod
    def changed(self, scored: ScoredClassifier, target: int, choosing: ShortcutPictures, run: Run, key: str) -> Change:
        """A changed copy of the classifier.

        Args:
            scored: left as it was found.
            target: place of the class whose score the shortcut moves most.
            choosing: pictures that are not judged by.
            run: progress and records.
            key: identity of the work; records made with another one are made again.
        """

    @abstractmethod
    def passes(self, scored: ScoredClassifier, pictures: int) -> int:
        """Pictures that go through the network for the change, of so many that choose it."""

    def __call__(
        self,
        scored: ScoredNetwork,
        images: ImageSet,
        truth: Sequence[str],
        shortcut: Sequence[str],
        groups: Sequence[str] | None = None,
        *,
        column: str = "shortcut",
        run: Run = Run.none(),
    ) -> Repair:
        """The repaired classifier; it does not depend on the order of the pictures.

        Args:
            scored: left as it was found; a classifier that Intaglio wrote.
            images: n pictures.
            truth: the true class of each, empty where it is not known.
            shortcut: one of two texts for each, empty where it is not known.
            groups: of each picture; pictures of a group are in one half. An empty text stands for a group of its own.
            column: the shortcut's name.
            run: progress, records and warnings; a killed call goes on after what was stored.

        Raises:
            BadInput: for another kind of classifier, a class that it has not, a shortcut without two values, and for
                no class with pictures enough of both.
            IntaglioError: for numbers that are not finite.
        """
        own, order = own_classifier(scored), content_order(images)
        texts = [[one[k] for k in order] for one in (truth, shortcut, groups or [""] * len(truth))]
        rows, pictures, values = self.told(own, images[order], texts[0], texts[1], column)
        named = [group or f"\0{k}" for k, group in enumerate(texts[2])]
        together = np.unique([named[k] for k in rows], return_inverse=True)[1].astype(np.int64)
        halves = folds_of(pictures.cells, together, 2, self.seed)
        choosing, judging = pictures[halves == 0], pictures[halves == 1]
        check_halves(choosing, judging, self.every_class)
        target = moved_most(self._scores(own, choosing.pixels), choosing)
        content = [images.hashes[order[k]] for k in rows]
        key = digest([self.name, asdict(self), own.hash, content, pictures.cells.tolist(), together.tolist()])
        found = self.changed(own, target, choosing, run, key)
        network = as_stored(found.network)
        after = classifier_score(network, own.head, own.score_of, own.side)
        if not all(bool(one.isfinite().all()) for one in network.state_dict().values()):
            raise IntaglioError(f"{self.name} gives numbers that are not finite; check the network's file")
        before_scores, after_scores = (self._scores(one, judging.pixels) for one in (own, after))
        weights = judging.contrast(LEAST)
        first, last = (float((weights * one[:, target]).sum()) for one in (before_scores, after_scores))
        chance = chance_of_gap(before_scores[:, target], judging, self.seed)
        names = images.names
        result = RepairedClassifier(
            method=self.name, reading=self.reading, head=own.head, classes=own.classes, column=column, values=values,
            target=own.classes[target], grouped=groups is not None, chosen_by=len(choosing),
            names=tuple(names[order[int(k)]] for k in rows[halves == 1]),
            cells=tuple(judging.cells.tolist()), groups=tuple(together[halves == 1].tolist()),
            before=tuple(before_scores.argmax(1).tolist()), after=tuple(after_scores.argmax(1).tolist()),
            gap=ShortcutGap(first, last, chance),
            offset=found.offset, others=self._others(own, network, judging.pixels), cut=found.edges, share=found.share,
        )  # fmt: skip
        for warning in result.warnings:
            run.warn(warning)
        return Repair(result, network)

    def told(
        self, scored: ScoredNetwork, images: ImageSet, truth: Sequence[str], shortcut: Sequence[str], column: str
    ) -> tuple[np.ndarray, ShortcutPictures, Values]:
        """Places of the pictures whose class and shortcut are known, these pictures, and the shortcut's two values.

        Raises `BadInput` for a class that the head has not, a shortcut without two values, and too few pictures.
        """
        if unknown := sorted({one for one in truth if one and one not in scored.classes}):
            few = ", ".join(map(one_line, scored.classes[:10]))
            raise BadInput(f"{one_line(unknown[0])} is no class of the head {scored.head}; it has: {few}")
        texts = sorted({one for one in shortcut if one})
        if len(texts) != 2:
            few = ", ".join(map(one_line, texts[:5])) or "none"
            raise BadInput(
                f"a shortcut has two values, and the column {one_line(column)} has {len(texts)}: {few}; empty the "
                "cells of pictures of other values"
            )
        rows = np.array([k for k, (a, b) in enumerate(zip(truth, shortcut, strict=True)) if a and b], np.int64)
        codes = np.array([scored.classes.index(truth[int(k)]) for k in rows], np.int64)
        values = np.array([texts.index(shortcut[int(k)]) for k in rows], np.int64)
        found = ShortcutPictures(images.pixels[torch.from_numpy(rows)], codes, values, len(scored.classes))
        lacking = [name for name, count in zip(scored.classes, found.counts.sum(1), strict=True) if count < 2]
        if self.every_class and lacking:
            raise BadInput(
                f"{self.name} needs pictures of every class of the head {scored.head}, two or more, and of "
                f"{one_line(lacking[0])} there are not; give some, or take cut-edges"
            )
        if (found.counts.sum(1) > 0).sum() < 2:
            raise BadInput("the pictures with a class and a shortcut are of one class; give pictures of others too")
        if not (found.counts >= 2 * LEAST).all(1).any():
            need = " and ".join(one_line(one) for one in texts)
            raise BadInput(
                f"no class of the head {scored.head} has {2 * LEAST} pictures each of {need}; give more pictures in "
                "which the shortcut does not go with the class"
            )
        return rows, found, (texts[0], texts[1])

    @torch.no_grad()
    def _others(
        self, scored: ScoredClassifier, network: PictureClassifier, pixels: Float[Tensor, "n 3 h w"]
    ) -> tuple[tuple[str, float], ...]:
        """The other heads, with the share of pictures that each calls otherwise."""
        changed = dict.fromkeys((name for name in network.classes if name != scored.head), 0)
        for part in pixels.split(self.batch) if changed else ():
            both = [one(part.to(scored.device)) for one in (scored.network, network)]
            for name in changed:
                changed[name] += int((both[0][name].argmax(1) != both[1][name].argmax(1)).sum())
        return tuple((name, count / len(pixels)) for name, count in changed.items())

    @torch.no_grad()
    def _scores(self, scored: ScoredClassifier, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        """Scores of all classes, on the CPU."""
        logits = torch.cat([scored.logits(one).cpu() for one in pixels.split(self.batch)])
        return torch.stack([scored.scored(logits, k) for k in range(logits.shape[1])], 1)


def own_classifier(scored: ScoredNetwork) -> ScoredClassifier:
    """The classifier, if it is one that can be stored again. Raises `BadInput` for others."""
    if not isinstance(scored, ScoredClassifier):
        raise BadInput("repairs are of classifiers that Intaglio wrote; give such a .safetensors file as --network")
    return scored


def check_halves(choosing: ShortcutPictures, judging: ShortcutPictures, needed: bool) -> None:
    """Raises `BadInput` where no class is left with both values in each half, or a needed one in the first."""
    both = (choosing.counts >= LEAST).all(1) & (judging.counts >= LEAST).all(1)
    if not both.any() or (needed and (choosing.counts.sum(1) == 0).any()):
        raise BadInput(
            "a class has both values of the shortcut in one half of the pictures alone; give more pictures, or smaller "
            "groups"
        )


def moved_most(scores: Float[Tensor, "n k"], pictures: ShortcutPictures) -> int:
    """Place of the class whose score the shortcut moves furthest."""
    moved = (pictures.contrast(LEAST)[:, None] * scores).sum(0)
    return int(moved.abs().argmax())


def chance_of_gap(scores: Float[Tensor, "n"], pictures: ShortcutPictures, seed: int) -> float:
    """Share of shuffles of the values within classes by which scores differ as far as by the values as they are."""
    source, values = numpy_generator(seed, SHUFFLES), pictures.values.copy()
    own, further = abs(float((pictures.contrast(LEAST) * scores).sum())), 0
    for _ in range(SHUFFLES):
        for kind in np.unique(pictures.truth):
            rows = np.flatnonzero(pictures.truth == kind)
            values[rows] = source.permutation(pictures.values[rows])
        shuffled = replace(pictures, values=values)
        further += abs(float((shuffled.contrast(LEAST) * scores).sum())) >= own
    return (1 + further) / (1 + SHUFFLES)


def as_stored(network: PictureClassifier) -> PictureClassifier:
    """A copy with the weights that its file will have, in half precision."""
    found = copy.deepcopy(network)
    with torch.no_grad():
        for weight in found.parameters():
            if weight.dim() > 1:
                weight.copy_(weight.half().to(weight))
    return found.eval().requires_grad_(False)
