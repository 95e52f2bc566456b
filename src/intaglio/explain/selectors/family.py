"""Pixel selectors: the contract of a classifier that sees a few pixels of a picture alone, and its test."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from jaxtyping import Int
from numpy import ndarray
from torch import Tensor

from intaglio.errors import require
from intaglio.explain.kept_labels import LEAST, KeptLabels, check_parts, kept_labels
from intaglio.explain.probe_scores import folds_of
from intaglio.explain.selectors.labelled_lessons import HEAD, LabelledLessons, Pace, taught_classifier
from intaglio.explain.selectors.result import SelectedPixels
from intaglio.explain.selectors.shown_pixels import Masks, Pixels, fill_of, shown, unshown
from intaglio.images.image_set import ImageSet
from intaglio.models.classifiers import PictureClassifier, save_classifier
from intaglio.models.picture_selectors import PictureSelector, save_selector
from intaglio.runs.picture_batches import content_order
from intaglio.runs.run import Run
from intaglio.verbs import FileName

PREDICTOR, PLAIN, SELECTOR = "predictor.safetensors", "plain.safetensors", "selector.safetensors"
"""Files of the networks in a run's folder."""
PLAIN_STATE, SELECTOR_STATE, SECOND_STATE = "plain", "selector", "left out"
"""Names of the trainings, in their order, and of their states."""


@dataclass(frozen=True, eq=False)
class TaughtMasks:
    """Masks that a method has learnt to make, and the classifier that sees what they show."""

    predictor: PictureClassifier
    """In evaluation mode."""
    masks: Callable[[Pixels], Masks]
    """Masks in [0, 1] of a batch of pictures on the device of the networks."""
    selector: PictureSelector | None = None
    """The network that makes them; None where none was taught."""


@dataclass(frozen=True, eq=False)
class TaughtSelector:
    """The networks of a method, and what they answered on held-out pictures."""

    result: SelectedPixels
    plain: PictureClassifier
    """Of whole pictures."""
    taught: TaughtMasks

    def save(self, folder: Path) -> tuple[str, ...]:
        """Writes the result and each network, atomically; returns the names of all files."""
        self.result.save(folder)
        card = {"method": self.result.method, "fill": " ".join(f"{one:.6g}" for one in self.result.fill)}
        save_classifier(self.taught.predictor, folder / PREDICTOR, card)
        save_classifier(self.plain, folder / PLAIN, card)
        written = (self.result.file, self.result.table, PREDICTOR, PLAIN)
        if self.taught.selector is None:
            return written
        save_selector(self.taught.selector, folder / SELECTOR, card)
        return (*written, SELECTOR)


@dataclass(frozen=True, kw_only=True)
class PixelSelector(ABC):
    """A classifier of pictures that sees a few of their pixels alone, beside a plain one of the same shape.

    A mask m in [0, 1] a pixel x leaves c + m (x - c), c being white where most pictures are on white and else their
    mean colour: what is shown. 1 - m leaves what is left out. One of F parts of the pictures is held out, whole groups
    together, and all answers are on these. The predictor answers on what is shown; the plain classifier on whole
    pictures, on what is shown, and on what is left out. A second classifier is taught on the other pictures without the
    pixels that their masks show half or more of, and asked about the held-out ones without theirs: a selector may
    deceive the classifier that it learnt against, and no other.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """Where the masks come from, as the end of a sentence."""

    area: float = 0.2
    """Share of a picture that its mask may show (tau), above 0 and below 1."""
    epochs: int = 30
    """Times that each network is shown every picture, from 1."""
    rows: int = 32
    """Pictures of an update, from 2."""
    learning_rate: float = 5e-3
    """Highest learning rate of AdamW, which falls along half a cosine; above 0."""
    weight_decay: float = 0.03
    """Decay of AdamW, 0 or more."""
    holes: float = 0.5
    """Share of the pictures that the plain classifier learns with holes of random sizes, in [0, 1]: it is asked about
    parts of pictures later."""
    widths: tuple[int, ...] = (32, 64, 128, 224)
    """Channels of each stage of the classifiers, of which each halves the side; 1 to 4096."""
    folds: int = 5
    """Parts of the pictures, 2 to 20, of which one is held out."""
    batch: int = 64
    """Pictures that go through the networks together once they are taught, from 1; the result is the same, up to its
    rounding."""
    seed: int = 0
    """Of parts, networks, order and holes, 0 to 2**32 - 1."""

    def __post_init__(self) -> None:
        require(0 < self.area < 1, f"area must be above 0 and below 1, not {self.area}")
        require(self.epochs >= 1, f"epochs must be 1 or more, not {self.epochs}")
        require(self.rows >= 2, f"rows must be 2 or more, not {self.rows}")
        require(0 < self.learning_rate < math.inf, f"learning_rate must be above 0, not {self.learning_rate}")
        require(0 <= self.weight_decay < math.inf, f"weight_decay must not be negative: {self.weight_decay}")
        require(0 <= self.holes <= 1, f"holes must lie in 0..1, not {self.holes}")
        require(2 <= self.folds <= 20, f"folds must be 2 to 20, not {self.folds}")
        require(self.batch >= 1, f"batch must be at least 1, not {self.batch}")
        require(0 <= self.seed < 2**32, f"seed must be 0 to 2**32 - 1, not {self.seed}")
        sound = bool(self.widths) and all(1 <= width <= 4096 for width in self.widths)
        require(sound, f"widths must be one number or more, each of 1 to 4096, not {self.widths}")

    @abstractmethod
    def learn(self, lessons: LabelledLessons, plain: PictureClassifier, run: Run) -> TaughtMasks:
        """Masks and their predictor.

        Args:
            lessons: labelled pictures, none of which is held out.
            plain: which has learnt them whole; frozen, in evaluation mode.
            run: log and state; a killed training goes on.
        """

    @property
    def pace(self) -> Pace:
        """Of each training."""
        return Pace(
            epochs=self.epochs, rows=self.rows, learning_rate=self.learning_rate, weight_decay=self.weight_decay,
            widths=self.widths,
        )  # fmt: skip

    def kept(self, column: str, labels: Sequence[str], groups: Sequence[str] | None = None) -> KeptLabels:
        """Pictures whose label enough others have. Raises `BadInput` where no two labels are left."""
        return kept_labels({column: labels}, groups, max(LEAST, self.folds))[0]

    def __call__(
        self,
        images: ImageSet,
        column: str,
        labels: Sequence[str],
        groups: Sequence[str] | None = None,
        *,
        device: str | torch.device = "cpu",
        run: Run = Run.none(),
    ) -> TaughtSelector:
        """Networks that learn from most of the pictures, and answers on the others; the pictures' order does not count.

        Args:
            images: n pictures.
            column: the labels' name.
            labels: a text a picture, empty where it is not known.
            groups: of each picture; pictures of a group, such as twins, are never on both sides. An empty text stands
                for a group of its own.
            device: where the networks compute.
            run: progress, states and warnings; a killed call goes on after the last saved step.

        Raises:
            BadInput: for labels of too few pictures.
            IntaglioError: for a loss that is not finite.
        """
        order = content_order(images)
        ordered = images[order]
        kept = self.kept(column, [labels[k] for k in order], None if groups is None else [groups[k] for k in order])
        held = folds_of(kept.codes, kept.groups, self.folds, self.seed) == 0
        check_parts(kept, held)
        pixels = ordered.pixels[torch.from_numpy(kept.rows)]
        learnt = torch.from_numpy(~held)
        lessons = LabelledLessons(
            pixels[learnt], torch.from_numpy(kept.codes)[learnt], kept.classes, fill_of(pixels[learnt]), self.seed,
            torch.device(device),
        )  # fmt: skip
        plain = taught_classifier(lessons, self.pace, self.holes, PLAIN_STATE, run)
        taught = self.learn(lessons, plain, run)
        unseen = unshown(lessons.pixels, self._masks(taught, lessons.pixels, device), lessons.fill)
        second = taught_classifier(lessons.showing(unseen), self.pace, 0.0, SECOND_STATE, run)
        asked = pixels[torch.from_numpy(held)]
        masks = self._masks(taught, asked, device)
        parts = shown(asked, masks, lessons.fill), shown(asked, 1 - masks, lessons.fill)
        found = SelectedPixels(
            method=self.name, reading=self.reading, column=column, classes=kept.classes, dropped=kept.dropped,
            grouped=groups is not None, learnt=int((~held).sum()), allowed=self.area,
            fill=tuple(lessons.fill.tolist()), names=tuple(ordered.names[int(k)] for k in kept.rows[held]),
            truth=kept.codes[held], groups=kept.groups[held],
            predicted=self._answers(taught.predictor, parts[0], device), plain=self._answers(plain, asked, device),
            seen=self._answers(plain, parts[0], device), left=self._answers(plain, parts[1], device),
            second=self._answers(second, unshown(asked, masks, lessons.fill), device),
            areas=masks.mean((1, 2)).double().numpy(), masks=(masks * 255).round().to(torch.uint8).numpy(),
        )  # fmt: skip
        for warning in found.warnings:
            run.warn(warning)
        return TaughtSelector(found, plain, taught)

    def forget(self, run: Run) -> None:
        """Drops what a run kept to go on from; to be called once its result is safe."""
        for state in (PLAIN_STATE, SELECTOR_STATE, SECOND_STATE):
            run.drop_state(state)

    @torch.no_grad()
    def _masks(self, taught: TaughtMasks, pixels: Pixels, device: str | torch.device) -> Masks:
        return torch.cat([taught.masks(part.to(device)).cpu() for part in pixels.split(self.batch)])

    @torch.no_grad()
    def _answers(self, network: PictureClassifier, pixels: Pixels, device: str | torch.device) -> Int[ndarray, "m"]:
        found: list[Tensor] = [
            network.logits(part.to(device), HEAD).argmax(1).cpu() for part in pixels.split(self.batch)
        ]
        return torch.cat(found).numpy()
