"""Slice finders: the contract of a method that finds groups of pictures on which a classifier errs, and their test."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.stats import false_discovery_control, fisher_exact
from torch import Tensor

from intaglio.errors import BadInput, require
from intaglio.explain.class_heat import class_heat, masked_pictures
from intaglio.explain.picture_features import FeatureSource
from intaglio.explain.slices.balanced_weights import TaughtPictures, balanced_weights, slice_cells
from intaglio.explain.slices.judged_rows import JudgedRows
from intaglio.explain.slices.recognised import recognised
from intaglio.explain.slices.result import ErrorSlices, FoundGroup, WeighedPicture
from intaglio.images.image_set import ImageSet
from intaglio.models.scored_network import ScoredNetwork
from intaglio.runs.picture_batches import content_order
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.verbs import FileName

FEWEST, FEWEST_WRONG = 20, 4
"""Pictures, and wrong answers, at least."""
SHOWN = 12
"""Pictures of a slice that are named."""
MEMBER = 0.5
"""Membership from which on a picture that finds a slice is in it."""
Membership = Callable[[JudgedRows], Float[ndarray, "n"]]


@dataclass(frozen=True, eq=False)
class PictureSlice:
    """A group of pictures that look alike."""

    told: str
    """In words."""
    ranked: Membership
    """Membership in [0, 1] by all that is known, the true and called classes among it."""
    inside: Callable[[JudgedRows], Bool[ndarray, "n"]] | None = None
    """Whether a picture is in it, told without the classifier's answer; None: a picture that looks like its members
    and is of their true classes is."""


@dataclass(frozen=True, kw_only=True)
class SliceFinder(ABC):
    """A way to find groups of alike pictures on which a classifier errs more than on others.

    Half of the pictures find the groups. In the other half a picture is in a group by its look, unmasked, and its true
    class, before the classifier's answer is known, and Fisher's exact test says whether it errs more inside than
    outside, with the false-discovery rate of all groups controlled after Benjamini and Hochberg. With `masked`,
    pictures are described by what is left of them when places are blank where the heat of their called class is below
    `least`: by what the classifier looked at (ViG-Bias, arXiv 2407.01996).
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """A slice in words, as the end of a sentence that begins "A slice is"."""

    slices: int = 5
    """Slices, those with most errors beyond their share, 1 to 50."""
    masked: bool = True
    """Describe pictures by where the score of their called class comes from."""
    least: float = 0.7
    """Heat, as a share of the picture's range, from which on a place is left, above 0 and below 1."""
    layer: str = ""
    """Module whose maps the heat is made from, such as stages.3; empty takes the last with maps of several places."""
    rate: float = 0.05
    """False-discovery rate of slices, in (0, 1)."""
    batch: int = 64
    """Pictures that go through the network together, from 1; the result is the same, up to its rounding."""
    seed: int = 0
    """Of halves and of what is drawn, from 0."""

    def __post_init__(self) -> None:
        require(1 <= self.slices <= 50, f"slices must be 1 to 50, not {self.slices}")
        require(0 < self.least < 1, f"least must be above 0 and below 1, not {self.least}")
        require(0 < self.rate < 1, f"rate must be in (0, 1), not {self.rate}")
        require(self.batch >= 1, f"batch must be at least 1, not {self.batch}")
        require(0 <= self.seed < 2**32, f"seed must be 0 to 2**32 - 1, not {self.seed}")

    @abstractmethod
    def find(self, rows: JudgedRows) -> Sequence[PictureSlice]:
        """At most `slices` groups of rows, that with most errors beyond its share first."""

    def __call__(
        self,
        scored: ScoredNetwork,
        source: FeatureSource,
        images: ImageSet,
        truth: Sequence[str],
        taught: TaughtPictures | None = None,
        *,
        run: Run = Run.none(),
    ) -> ErrorSlices:
        """Slices of pictures; they do not depend on the order of the pictures.

        Args:
            scored: the classifier; left as it was found.
            source: of the features that pictures are described by.
            images: of known class.
            truth: the true class of each, by its name.
            taught: pictures that the classifier is to learn from again; each is weighed so that the slices which hold
                count as much as the rest of their class.
            run: progress, states and warnings; a killed call goes on after the last batch.

        Raises:
            BadInput: for classes that the classifier has not, for too few pictures, and for too few wrong answers.
        """
        places = truth_places(scored, truth)
        if len(images) < FEWEST:
            raise BadInput(f"{len(images)} pictures are too few to find slices; give {FEWEST} or more, better hundreds")
        order = content_order(images)
        images, known = images[order], places[order]
        found = self._described(scored, source, images, run)
        features = found["features"].double().numpy(), found["plain"].double().numpy()
        rows = JudgedRows(*features, known, found["called"].numpy(), images.captions, len(scored.classes))
        if (wrong := int(rows.wrong.sum())) < FEWEST_WRONG:
            raise BadInput(
                f"the classifier errs on {wrong} of {len(rows)} pictures, too few to find slices; give more pictures"
            )
        weighed = None if taught is None else self._rows_taught(scored, source, taught, run)
        halves = np.arange(0, len(rows), 2), np.arange(1, len(rows), 2)
        result = self._tested(self.find(rows[halves[0]]), rows, halves, images, scored, weighed)
        for warning in result.warnings:
            run.warn(warning)
        return result

    def _described(self, scored: ScoredNetwork, source: FeatureSource, images: ImageSet, run: Run) -> dict[str, Tensor]:
        """Features of the pictures as they are described and as they are, and their called classes."""

        def described(part: ImageSet) -> dict[str, Tensor]:
            called = scored.called(part.pixels)
            shown = self.shown(scored, part, called)
            plain = source.of(part)
            return {"features": source.of(shown) if self.masked else plain, "plain": plain, "called": called}

        return self._in_batches("described", images, [scored.hash, source.hash], described, run)

    def _in_batches(
        self, what: str, images: ImageSet, of: Sequence[str], read: Callable[[ImageSet], dict[str, Tensor]], run: Run
    ) -> dict[str, Tensor]:
        """Tensors that are read of pictures, each batch stored with the run when it is known."""
        key = digest([asdict(self), *of, images.hashes])
        parts = [images[start : start + self.batch] for start in range(0, len(images), self.batch)]
        kept = [_kept(run, f"{what}-{number:05d}", key) for number in range(len(parts))]
        with run.progress(len(parts), f"batches {what}", sum(one is not None for one in kept)) as progress:
            for number, part in enumerate(parts):
                if kept[number] is None:
                    kept[number] = read(part)
                    run.save_state(f"{what}-{number:05d}", kept[number] or {}, {"key": key})
                    progress.advance()
        whole = [one for one in kept if one is not None]
        return {name: torch.cat([one[name] for one in whole]) for name in whole[0]}

    def _rows_taught(
        self, scored: ScoredNetwork, source: FeatureSource, taught: TaughtPictures, run: Run
    ) -> tuple[tuple[str, ...], JudgedRows]:
        """Names and rows of the pictures that the classifier learns from; it is not asked about them."""
        places, images = truth_places(scored, taught.truth), taught.images
        found = self._in_batches("weighed", images, [source.hash], lambda part: {"plain": source.of(part)}, run)
        plain = found["plain"].double().numpy()
        return images.names, JudgedRows(plain, plain, places, places, images.captions, len(scored.classes))

    def shown(self, scored: ScoredNetwork, images: ImageSet, called: Int[Tensor, "n"]) -> ImageSet:
        """Pictures as they are described: masked by the heat of their called class, or as they are."""
        if not self.masked:
            return images
        heat = class_heat(scored, self.layer or scored.layers[-1], images.pixels, called)
        return ImageSet.from_pixels(masked_pictures(images.pixels, heat, self.least))

    def _tested(
        self,
        slices: Sequence[PictureSlice],
        rows: JudgedRows,
        halves: tuple[Int[ndarray, "a"], Int[ndarray, "m"]],
        images: ImageSet,
        scored: ScoredNetwork,
        taught: tuple[tuple[str, ...], JudgedRows] | None,
    ) -> ErrorSlices:
        finding, tested = (rows[half] for half in halves)
        groups = [self._group(one, rows, finding, tested, images, scored) for one in slices]
        q = false_discovery_control([one["p"] for one in groups]) if groups else np.empty(0)
        found = tuple(
            FoundGroup(**one, q=float(rate), passes=bool(rate <= self.rate))
            for one, rate in zip(groups, q, strict=True)
        )
        return ErrorSlices(
            method=self.name, reading=self.reading, head=scored.head, pictures=len(rows), tested=len(tested),
            wrong=int(rows.wrong.sum()), masked=self.masked, rate=self.rate, groups=found,
            weighed=() if taught is None else _weighed(slices, found, finding, *taught),
        )  # fmt: skip

    def _group(
        self,
        one: PictureSlice,
        rows: JudgedRows,
        finding: JudgedRows,
        tested: JudgedRows,
        images: ImageSet,
        scored: ScoredNetwork,
    ) -> dict[str, Any]:
        inside = _members(one, finding, tested)
        table = [[int((tested.wrong[part] == kind).sum()) for kind in (True, False)] for part in (inside, ~inside)]
        p = float(np.asarray(fisher_exact(table, alternative="greater"))[1])
        order = np.lexsort((np.arange(len(rows)), -one.ranked(rows)))[:SHOWN].tolist()
        return {
            "told": one.told,
            "inside": int(inside.sum()),
            "errors_inside": table[0][0],
            "errors_outside": table[1][0],
            "outside": int((~inside).sum()),
            "p": p,
            "pictures": tuple(images.names[k] for k in order),
            "truth": tuple(scored.classes[rows.truth[k]] for k in order),
            "called": tuple(scored.classes[rows.called[k]] for k in order),
        }


def _members(one: PictureSlice, finding: JudgedRows, others: JudgedRows) -> Bool[ndarray, "n"]:
    """Marks of other pictures that are in a slice, told without the classifier's answers on them."""
    if one.inside is not None:
        return one.inside(others)
    members = one.ranked(finding) >= MEMBER
    return recognised(finding.plain, finding.truth, members, others.plain, others.truth)


def _weighed(
    slices: Sequence[PictureSlice],
    found: Sequence[FoundGroup],
    finding: JudgedRows,
    names: Sequence[str],
    taught: JudgedRows,
) -> tuple[WeighedPicture, ...]:
    held = [number for number, one in enumerate(found) if one.passes]
    cells = slice_cells([_members(slices[number], finding, taught) for number in held], len(taught))
    weights = balanced_weights(taught.truth, cells)
    return tuple(
        WeighedPicture(name, held[cell - 1] if cell else None, float(weight))
        for name, cell, weight in zip(names, cells.tolist(), weights, strict=True)
    )


def truth_places(scored: ScoredNetwork, truth: Sequence[str]) -> Int[ndarray, "n"]:
    """Places of true classes. Raises `BadInput` for a class that the classifier has not."""
    known = {name: k for k, name in enumerate(scored.classes)}
    if strange := next((one for one in truth if one not in known), None):
        raise BadInput(
            f"a label is {strange!r}, which is no class of the head {scored.head}: {', '.join(scored.classes[:10])}; "
            "name labels as the classifier does"
        )
    if "" in truth:
        raise BadInput("a picture has no label; give one of each, or leave the picture out")
    return np.array([known[one] for one in truth])


def most_wrong(shares: Float[ndarray, "n s"], rows: JudgedRows, count: int) -> list[int]:
    """The groups with most errors beyond their share, of memberships [n, s]; those with none are left out."""
    excess = shares.T @ (rows.wrong - rows.wrong.mean())
    order = np.argsort(-excess, kind="stable")
    return [int(k) for k in order[:count] if excess[k] > 0]


def _kept(run: Run, name: str, key: str) -> dict[str, Tensor] | None:
    found = run.load_state(name)
    return dict(found[0]) if found is not None and found[1].get("key") == key else None
