"""Readable heads: the contract of a method that fits a classifier to features, which a person can follow."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from torch import Tensor

from intaglio.errors import BadInput, require
from intaglio.explain.heads.fitted_head import FittedHead, HeadExplanation, Places
from intaglio.explain.heads.network_tuning import PLAIN, THROUGH, NetworkTuning
from intaglio.explain.heads.place_features import place_features, places_name
from intaglio.explain.heads.result import HeadReadings
from intaglio.explain.heads.tuned_network import NetworkAnswers, TunedNetwork
from intaglio.explain.kept_labels import LEAST, KeptLabels, check_parts, kept_labels
from intaglio.explain.logistic_fits import chosen_logistic
from intaglio.explain.picture_features import FeatureSource, LayerFeatures
from intaglio.explain.probe_scores import Codes, folds_of
from intaglio.images.image_set import ImageSet
from intaglio.models.classifiers import PictureClassifier
from intaglio.runs.picture_batches import content_order
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.verbs import FileName

Kind = Literal["attribution", "function", "concept", "prototype", "rule"]


@dataclass(frozen=True, kw_only=True)
class ReadableHead(ABC):
    """A classifier on frozen features that a person can follow, judged beside a linear one.

    Features of p places of a picture [p, d] are a layer's maps over a grid; their mean x [d] is the picture's. Pictures
    are in F folds, and each is named by a head of the other folds; the linear head, logistic regression on x, is fitted
    and asked on the same folds. The accuracy is the mean over labels of the share of their pictures that is named
    right. The size of the explanation is how many numbers a person reads to see why one picture is named so.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    kind: ClassVar[Kind]
    """The family of self-interpretable networks that it is of."""
    reading: ClassVar[str]
    """Of the numbers that a person reads for one picture, in words."""
    levels: ClassVar[tuple[float, ...]] = ()
    """Shares of numbers left out at which it is asked too; none where it has no such choice."""

    folds: int = 5
    """Folds of the pictures, 3 to 20."""
    strengths: tuple[float, ...] = (0.001, 0.01, 0.1)
    """Inverse strengths C of the penalty of logistic regression that are tried, one or more, above 0."""
    side: int = 4
    """Cells of a side of the grid of places, 1 to 16; at most as many as the layer has."""
    batch: int = 32
    """Pictures that go through the network together, from 1; the result is the same, up to its rounding."""
    seed: int = 0
    """Seed of folds and of whatever is drawn, 0 to 2**32 - 1."""

    def __post_init__(self) -> None:
        require(3 <= self.folds <= 20, f"folds must be 3 to 20, not {self.folds}")
        fit = bool(self.strengths) and all(0 < one < float("inf") for one in self.strengths)
        require(fit, f"strengths must be one number or more above 0, not {self.strengths}")
        require(1 <= self.side <= 16, f"side must be 1 to 16, not {self.side}")
        require(self.batch >= 1, f"batch must be at least 1, not {self.batch}")
        require(0 <= self.seed < 2**32, f"seed must be 0 to 2**32 - 1, not {self.seed}")

    @abstractmethod
    def fitted(self, places: Places, truth: Codes, groups: Codes, classes: int) -> FittedHead:
        """A head for m pictures with features of their places, their classes 0 to classes - 1, and their groups.

        Raises `BadInput` for places that it can make nothing of.
        """

    @property
    def tuning(self) -> NetworkTuning | None:
        """The training of the network before heads are fitted to its features; None where these stay as they are.

        With one, answers are on the first fold alone, and the network learns from the others.
        """
        return None

    def refusal(self, source: FeatureSource) -> str:
        """Sentence on features that the method cannot take; empty where it can."""
        return self.tuning.refusal(source) if self.tuning else ""

    def kept(self, column: str, labels: Sequence[str], groups: Sequence[str] | None = None) -> KeptLabels:
        """Pictures whose label enough others have. Raises `BadInput` where no two labels are left."""
        return kept_labels({column: labels}, groups, max(LEAST, self.folds))[0]

    def __call__(
        self,
        source: FeatureSource,
        images: ImageSet,
        column: str,
        labels: Sequence[str],
        groups: Sequence[str] | None = None,
        *,
        run: Run = Run.none(),
    ) -> HeadReadings:
        """Answers in folds, and a head of all pictures for people; they do not depend on the order of the pictures.

        Args:
            source: of the features; it is left as it was found.
            images: n pictures.
            column: the labels' name.
            labels: a text a picture, empty where it is not known.
            groups: of each picture; pictures of a group, such as twins, are never on both sides of a fold. An empty
                text stands for a group of its own.
            run: progress, states and records; a killed call goes on after the last batch or fold.

        Raises:
            BadInput: for labels of too few pictures, and for features that the method can make nothing of.
            IntaglioError: for features that are not finite.
        """
        if told := self.refusal(source):
            raise BadInput(told)
        order = content_order(images)
        ordered = images[order]
        kept = self.kept(column, [labels[k] for k in order], None if groups is None else [groups[k] for k in order])
        truth, names = kept.codes, [ordered.names[int(k)] for k in kept.rows]
        folds = folds_of(truth, kept.groups, self.folds, self.seed)
        if any(len(np.unique(truth[folds != fold])) < 2 for fold in range(self.folds)):
            raise BadInput("a fold leaves pictures of one label alone to learn from; give more labelled pictures")
        known = [column, truth.tolist(), kept.groups.tolist()]
        key = digest([self._key(source, ordered), known])
        if self.tuning is None:
            tuned, asked = None, np.full(len(truth), True)
            places = self._places(source, ordered, kept, run)
            answers = self._answers(places, truth, kept, folds, run, key)
        else:
            asked = folds == 0
            check_parts(kept, asked)
            first = cast(LayerFeatures, source)
            source, answers, tuned = self._tuned(self.tuning, first, ordered, kept, asked, run, key)
            places = self._places(source, ordered, kept, run)
        head = self._explained(places, kept, names, run, key)
        found = HeadReadings(
            method=self.name, kind=self.kind, reading=self.reading, features_of=places_name(source), column=column,
            classes=kept.classes, dropped=kept.dropped, grouped=groups is not None,
            names=tuple(name for name, one in zip(names, asked, strict=True) if one), shape=places.shape[1:],
            levels=self.levels, truth=truth[asked], groups=kept.groups[asked], folds=folds[asked], head=head,
            tuned=tuned, **answers,
        )  # fmt: skip
        for warning in (*found.warnings, *self.further_warnings(places)):
            run.warn(warning)
        return found

    def further_warnings(self, places: Places) -> tuple[str, ...]:
        """Sentences of the method's own, of the features that it was given."""
        return ()

    def forget(self, run: Run, pictures: int) -> None:
        """Drops what a run kept of so many pictures to go on from; to be called once its result is safe."""
        for k in range(pictures):
            run.drop_state(_state(k))
        for name in (THROUGH, PLAIN) if self.tuning else ():
            run.drop_state(name)

    def _tuned(
        self,
        tuning: NetworkTuning,
        source: LayerFeatures,
        ordered: ImageSet,
        kept: KeptLabels,
        held: np.ndarray,
        run: Run,
        key: str,
    ) -> tuple[LayerFeatures, dict[str, Any], TunedNetwork]:
        """The trained features, answers by them on held-out pictures, and the network with the answers of others."""
        learnt = torch.from_numpy(kept.rows[~held])
        truth, groups = kept.codes[~held], kept.groups[~held]
        lessons = tuning.lessons(source, ordered.pixels[learnt], truth, groups, kept.classes)
        through = tuning.taught(source, lessons, THROUGH, run)
        sources = {"untouched": source, PLAIN: tuning.taught(source, lessons, PLAIN, run), THROUGH: through}
        done = {name: one for name, one in run.recorded("network").items() if one["key"] == key}
        with run.progress(len(sources), "networks", len(done)) as progress:
            for name, one in sources.items():
                if name not in done:
                    done[name] = {"key": key, **self._fold(self._places(one, ordered, kept, run), kept, held)}
                    run.record("network", name, done[name])
                    progress.advance()
        arrays = {name: _arrays(one, len(self.levels)) for name, one in done.items()}
        others = NetworkAnswers(**arrays["untouched"]), NetworkAnswers(**arrays[PLAIN])
        network = cast(PictureClassifier, copy.deepcopy(through.scored.network)).cpu()
        return through, arrays[THROUGH], TunedNetwork(network, len(learnt), tuning.sparsity, *others)

    def _places(self, source: FeatureSource, ordered: ImageSet, kept: KeptLabels, run: Run) -> Places:
        """Features of the places of the pictures that are kept."""
        return self._read(source, ordered, run)[torch.from_numpy(kept.rows)].double().numpy()

    def _read(self, source: FeatureSource, ordered: ImageSet, run: Run) -> Tensor:
        """Features [n, p, d] of pictures, each batch stored with the run when it is known."""
        key = self._key(source, ordered)
        starts = range(0, len(ordered), self.batch)
        found = [_stored(run, number, key) for number in range(len(starts))]
        with run.progress(len(starts), "pictures", sum(one is not None for one in found)) as progress:
            for number, start in enumerate(starts):
                if found[number] is None:
                    read = place_features(source, ordered[start : start + self.batch], self.side)
                    run.save_state(_state(number), {"places": read}, {"key": key})
                    found[number] = read
                    progress.advance()
        return torch.cat([one for one in found if one is not None])

    def _answers(
        self, places: Places, truth: Codes, kept: KeptLabels, folds: Codes, run: Run, key: str
    ) -> dict[str, Any]:
        """Answers of this head and of the linear one for each picture, sizes and answers by level."""
        predicted, linear = np.zeros((2, len(truth)), np.int64)
        sizes, levels = np.zeros(len(truth)), np.zeros((len(self.levels), len(truth)), np.int64)
        done = {name: one for name, one in run.recorded("fold").items() if one["key"] == key}
        with run.progress(self.folds, "folds", len(done)) as progress:
            for fold in range(self.folds):
                out = folds == fold
                stored = done.get(str(fold))
                if stored is None:
                    stored = {"key": key, **self._fold(places, kept, out)}
                    run.record("fold", str(fold), stored)
                    progress.advance()
                predicted[out], linear[out], sizes[out] = (stored[one] for one in ("predicted", "linear", "sizes"))
                levels[:, out] = np.array(stored["levels"], np.int64).reshape(len(self.levels), int(out.sum()))
        return {"predicted": predicted, "linear": linear, "sizes": sizes, "by_level": levels}

    def _fold(self, places: Places, kept: KeptLabels, out: np.ndarray) -> dict[str, Any]:
        """Answers on the pictures of a fold by heads that are fitted to the others."""
        truth = kept.codes
        head = self.fitted(places[~out], truth[~out], kept.groups[~out], len(kept.classes))
        rows = places.mean(1)
        line = chosen_logistic(rows[~out], truth[~out], kept.groups[~out], self.strengths, self.seed)
        return {
            "predicted": head.predict(places[out]).tolist(),
            "linear": line.predict(rows[out]).tolist(),
            "sizes": head.sizes(places[out]).tolist(),
            "levels": [one.tolist() for one in head.by_level(places[out])],
        }

    def _explained(self, places: Places, kept: KeptLabels, names: Sequence[str], run: Run, key: str) -> HeadExplanation:
        """The explanation of a head of all pictures."""
        stored = run.recorded("head").get("all")
        with run.progress(1, "head of all pictures", int(stored is not None and stored["key"] == key)) as progress:
            if stored is None or stored["key"] != key:
                whole = self.fitted(places, kept.codes, kept.groups, len(kept.classes))
                stored = {"key": key, **whole.explained(places, names, kept.codes, kept.classes).plain()}
                run.record("head", "all", stored)
                progress.advance()
        return HeadExplanation.of(stored)

    def _key(self, source: FeatureSource, ordered: ImageSet) -> str:
        return digest([self.name, asdict(self), source.hash, list(ordered.hashes), list(ordered.names)])


def _arrays(stored: Mapping[str, Any], levels: int) -> dict[str, Any]:
    """Arrays of what `_fold` gave."""
    found = {name: np.array(stored[name], np.int64) for name in ("predicted", "linear")}
    by_level = np.array(stored["levels"], np.int64).reshape(levels, len(found["linear"]))
    return {**found, "sizes": np.array(stored["sizes"], np.float64), "by_level": by_level}


def _state(number: int) -> str:
    return f"places-{number:05d}"


def _stored(run: Run, number: int, key: str) -> Tensor | None:
    read = run.load_state(_state(number))
    return None if read is None or read[1].get("key") != key else read[0]["places"]
