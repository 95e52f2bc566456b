"""Feature probes: the contract of a method that reads features of pictures, whose labels are then named by them."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from intaglio.errors import BadInput, IntaglioError, require
from intaglio.explain.features.feature_cells import CellFeatures, FeatureCell, ProbedNetworks
from intaglio.explain.features.label_probes import LabelProbes
from intaglio.explain.features.result import FeatureProbes
from intaglio.explain.kept_labels import LEAST, KeptLabels, kept_labels
from intaglio.explain.probe_scores import (
    CellAnswers,
    balanced_accuracy,
    cell_answers,
    chosen_answers,
    folds_of,
    plain_answers,
    shuffled,
)
from intaglio.images.image_set import ImageSet
from intaglio.models.capabilities import check_needs
from intaglio.runs.picture_batches import content_order
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.verbs import FileName

Asked = Literal["model", "network", "nothing"]


@dataclass(frozen=True, kw_only=True)
class FeatureProbe(ABC):
    """A way to features of pictures, and the measure of how well labels are read from them.

    A probe is logistic regression with an L2 penalty and balanced classes on features scaled to mean 0 and deviation 1.
    Pictures are in F folds, and each is named by a probe of the other folds; the inverse strength C of the penalty is
    chosen within these, and so is the cell of features that the accuracy of the whole is told of. The accuracy is the
    mean over labels of the share of their pictures that is named right.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """The features in words, as the end of a sentence that begins "Features are"."""
    asks: ClassVar[Asked]
    """The network that features are read from: a text-to-image model, an encoder or a classifier, or none."""
    needs: ClassVar[tuple[type, ...]] = ()
    """What a model must be able to do (`intaglio.models.capabilities`)."""

    folds: int = 5
    """Folds of the pictures, 3 to 20."""
    strengths: tuple[float, ...] = (0.001, 0.01, 0.1)
    """Inverse strengths C of the probes' penalty that are tried, one or more, above 0."""
    shuffles: int = 20
    """Shuffles of the labels by which chance is measured, 0 or more."""
    batch: int = 16
    """Pictures that go through the network together, from 1; the result is the same, up to its rounding."""
    seed: int = 0
    """Seed of folds, shuffles and noise, 0 to 2**32 - 1."""

    def __post_init__(self) -> None:
        require(3 <= self.folds <= 20, f"folds must be 3 to 20, not {self.folds}")
        fit = bool(self.strengths) and all(0 < one < float("inf") for one in self.strengths)
        require(fit, f"strengths must be one number or more above 0, not {self.strengths}")
        require(self.shuffles >= 0, f"shuffles must be 0 or more, not {self.shuffles}")
        require(self.batch >= 1, f"batch must be at least 1, not {self.batch}")
        require(0 <= self.seed < 2**32, f"seed must be 0 to 2**32 - 1, not {self.seed}")

    @abstractmethod
    def cells(self, networks: ProbedNetworks) -> Sequence[FeatureCell]:
        """The places that features are read at. Raises `BadInput` for such as the network has not."""

    @abstractmethod
    def features(self, networks: ProbedNetworks, images: ImageSet) -> Mapping[FeatureCell, Tensor]:
        """Features [n, d] of pictures in each of `cells`, float32 on the CPU; networks are frozen and in evaluation
        mode, and no gradients are kept.
        """

    def calls(self, networks: ProbedNetworks) -> int:
        """Calls of the network for a picture's features."""
        return 1

    def check(self, networks: ProbedNetworks) -> None:
        """Raises `BadInput` for networks that it cannot ask."""
        if self.asks == "model":
            if networks.model is None:
                raise BadInput(f"{self.name} reads a model's features; give --model")
            check_needs(self, networks.model)
        if self.asks == "network" and networks.scored is None and networks.encoder is None:
            raise BadInput(f"{self.name} reads an encoder's or a classifier's features; give --network")
        self.cells(networks)

    def kept(self, labels: Mapping[str, Sequence[str]], groups: Sequence[str] | None = None) -> tuple[KeptLabels, ...]:
        """The labels that are probed, without those of too few pictures. Raises `BadInput` where none are left."""
        return kept_labels(labels, groups, max(LEAST, self.folds))

    def __call__(
        self,
        networks: ProbedNetworks,
        images: ImageSet,
        labels: Mapping[str, Sequence[str]],
        groups: Sequence[str] | None = None,
        *,
        run: Run = Run.none(),
    ) -> FeatureProbes:
        """Probes of all cells; they do not depend on the order of the pictures.

        Args:
            networks: the one that is asked is left as it was found.
            images: n pictures.
            labels: texts by column, one a picture, empty where it is not known.
            groups: of each picture; pictures of a group, such as twins, are never on both sides of a fold. An empty
                text stands for a group of its own.
            run: progress, states and records; a killed call goes on after the last batch, cell or shuffle.

        Raises:
            BadInput: for labels of too few pictures, and for a network that cannot be asked.
            IntaglioError: for features that are not finite.
        """
        self.kept(labels, groups)
        return self.probed(self.read(networks, images, run=run), networks, images, labels, groups, run=run)

    def read(self, networks: ProbedNetworks, images: ImageSet, *, run: Run = Run.none()) -> CellFeatures:
        """Features of all pictures, in their order, each batch stored with the run when it is known.

        Raises:
            BadInput: for a network that cannot be asked.
            IntaglioError: for features that are not finite.
        """
        self.check(networks)
        order = content_order(images)
        cells, ordered = list(self.cells(networks)), images[order]
        parts = [ordered[first : first + self.batch] for first in range(0, len(ordered), self.batch)]
        key = self._key(networks, ordered)
        kept = {k: one for k in range(len(parts)) if (one := _stored(run, k, key)) is not None}
        with run.progress(len(parts), "pictures", len(kept)) as progress:
            for k, part in enumerate(parts):
                if k not in kept:
                    kept[k] = self._read(networks, part)
                    run.save_state(_state(k), kept[k], {"key": key})
                    progress.advance()
        back = torch.tensor(order).argsort()
        values = {cell: torch.cat([kept[k][cell.name] for k in range(len(parts))])[back] for cell in cells}
        return CellFeatures(images.names, values)

    def probed(
        self,
        features: CellFeatures,
        networks: ProbedNetworks,
        images: ImageSet,
        labels: Mapping[str, Sequence[str]],
        groups: Sequence[str] | None = None,
        *,
        run: Run = Run.none(),
    ) -> FeatureProbes:
        """Probes on features that `read` gave; see the call."""
        order = content_order(images)
        texts = {column: [one[k] for k in order] for column, one in labels.items()}
        kept = self.kept(texts, None if groups is None else [groups[k] for k in order])
        rows = {cell: one[order].double().numpy() for cell, one in features.values.items()}
        key = digest([self._key(networks, images[order]), texts, groups and [groups[k] for k in order]])
        done = {name: run.recorded(name) for name in ("probe", "shuffle")}
        known = sum(one.get("key") == key for kind in done.values() for one in kind.values())
        total = len(kept) * (len(rows) + self.shuffles)
        names = [images.names[k] for k in order]
        with run.progress(total, "probes", known) as progress:

            def piece(kind: str, about: str, made: Any) -> dict[str, Any]:
                found = done[kind].get(about, {})
                if found.get("key") != key:
                    found = {"key": key, **made()}
                    run.record(kind, about, found)
                    progress.advance()
                return found

            found = [self._label(one, rows, names, piece) for one in kept]
        settled = all(ended for _, ended in found)
        result = FeatureProbes(
            self.name, self.reading, len(images), groups is not None, settled, tuple(one for one, _ in found)
        )
        left_out = [column for column in labels if column not in {one.column for one in kept}]
        for column in left_out:
            run.warn(f"{column} has no two labels of enough pictures, and is left out")
        for warning in result.warnings:
            run.warn(warning)
        return result

    def forget(self, run: Run, pictures: int) -> None:
        """Drops what a run kept of so many pictures to go on from; to be called once its result is safe."""
        for k in range(pictures):
            run.drop_state(_state(k))

    def _key(self, networks: ProbedNetworks, ordered: ImageSet) -> str:
        return digest([self.name, asdict(self), networks.hash, list(ordered.hashes), list(ordered.names)])

    def _read(self, networks: ProbedNetworks, part: ImageSet) -> dict[str, Tensor]:
        with torch.no_grad():
            if networks.model is None or self.asks != "model":
                found = self.features(networks, part)
            else:
                with networks.model.frozen():
                    found = self.features(networks, part)
        if bad := [cell.name for cell, one in found.items() if not bool(one.isfinite().all())]:
            raise IntaglioError(f"the features of {bad[0]} are not finite; check the network")
        return {cell.name: one for cell, one in found.items()}

    def _label(
        self, kept: KeptLabels, rows: Mapping[FeatureCell, np.ndarray], names: Sequence[str], piece: Any
    ) -> tuple[LabelProbes, bool]:
        """The probes of one column, and whether all fits ended."""
        truth, folds = kept.codes, folds_of(kept.codes, kept.groups, self.folds, self.seed)
        mine = {cell: one[kept.rows] for cell, one in rows.items()}
        answers = []
        for cell, features in mine.items():
            stored = piece("probe", f"{kept.column} {cell.name}", lambda f=features: self._cell(f, truth, folds))
            inner, predicted = np.array(stored["inner"]), np.array(stored["predicted"])
            answers.append(CellAnswers(predicted, inner, tuple(stored["strengths"]), stored["settled"]))
        strengths = tuple(Counter(one.strengths).most_common(1)[0][0] for one in answers)
        shuffles = []
        for number in range(self.shuffles):
            about = f"{kept.column} {number}"
            made = piece("shuffle", about, lambda n=number: self._shuffle(kept, mine, strengths, n))
            shuffles.append(tuple(made["accuracies"]))
        chosen, picks = chosen_answers(answers, folds)
        found = LabelProbes(
            kept.column, kept.classes, kept.dropped, tuple(rows), tuple(one.shape[1] for one in rows.values()),
            tuple(names[int(k)] for k in kept.rows), truth, kept.groups, folds,
            np.array([one.predicted for one in answers]), chosen, picks, strengths, tuple(shuffles),
        )  # fmt: skip
        return found, all(one.settled for one in answers)

    def _cell(self, features: np.ndarray, truth: np.ndarray, folds: np.ndarray) -> dict[str, Any]:
        found = cell_answers(features, truth, folds, self.strengths)
        return {
            "predicted": found.predicted.tolist(),
            "inner": found.inner.tolist(),
            "strengths": found.strengths,
            "settled": found.settled,
        }

    def _shuffle(
        self, kept: KeptLabels, rows: Mapping[FeatureCell, np.ndarray], strengths: Sequence[float], number: int
    ) -> dict[str, Any]:
        """Accuracy of each cell with labels in another order, which get folds of their own."""
        codes = shuffled(kept.codes, kept.groups, self.seed, number)
        folds = folds_of(codes, kept.groups, self.folds, self.seed)
        pairs = zip(rows.values(), strengths, strict=True)
        return {"accuracies": [balanced_accuracy(codes, plain_answers(one, codes, folds, c)) for one, c in pairs]}


def _state(number: int) -> str:
    return f"features-{number:05d}"


def _stored(run: Run, number: int, key: str) -> dict[str, Tensor] | None:
    read = run.load_state(_state(number))
    return None if read is None or read[1].get("key") != key else dict(read[0])
