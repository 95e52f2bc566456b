"""Encodings of pictures: the encoder, the numbers, what each slot makes up and tells, and swapped slots; stored.

`encodings.safetensors` in the run's folder has the encoder's weights and all else; `codes.csv` the numbers of each
picture, as features of other verbs; `slots.csv` a line a slot.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from intaglio.explain.encodings.encoding_networks import PictureEncoder
from intaglio.explain.encodings.label_slots import LabelSlots
from intaglio.explain.encodings.noise_slots import NoiseSlots
from intaglio.explain.picture_columns import PICTURE
from intaglio.files import atomic_write
from intaglio.images.image_set import save_png
from intaglio.metrics.statistics.interval import Interval, interval
from intaglio.runs.stored_table import StoredTable
from intaglio.runs.tables import rows_csv

CODES = "codes.csv"
COLUMNS = ["slot", "first_timestep", "last_timestep", "numbers", "confused", "made_up", "label", "accuracy", "low", "high"]  # fmt: skip  # noqa: E501
IMAGES = "images"
DRAWINGS = ("first", "second", "early", "late", "whole")
"""Drawn from the first picture's numbers, the second's, and the first's with those slots taken from the second."""
ALL = "all"
"""The slot's name in the row of all numbers."""
WEIGHTS = "encoder."
ARRAYS = ("truth", "groups", "predicted")
LEAST_SHARE = 0.01
"""Share of the error, below which hardly anything is made up."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PictureEncodings(StoredTable):
    """An encoder and its numbers of n pictures, by one method."""

    file: ClassVar[str] = "encodings.safetensors"
    table: ClassVar[str] = "slots.csv"
    remedy: ClassVar[str] = "the same command encodes again"

    method: str
    reading: str
    slots: NoiseSlots
    confused: tuple[float, ...]
    """Probability that two pictures are confused at the last timestep of each slot, a mean over their directions."""
    names: tuple[str, ...]
    """Of n pictures."""
    codes: Float[Tensor, "n z"]
    encoder: PictureEncoder
    """On the CPU, frozen."""
    times: tuple[int, ...]
    """Timesteps at which errors are measured, evenly placed."""
    errors: Float[ndarray, "2 l h"]
    """Weighted errors of each held-out picture at each of them: of the frozen denoiser, and with the numbers."""
    pairs: tuple[str, ...]
    """Names of the pictures with swapped slots: both of the first pair, of the second, and so on."""
    originals: Float[Tensor, "q 3 hp wp"]
    """Of the same."""
    swapped: Float[Tensor, "p r 3 hp wp"] | None
    """Drawn from both codes of each pair, then from the first with each part of the slots taken from the second."""
    labels: tuple[LabelSlots, ...]
    """A column of labels each."""

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Encodings of pictures by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @property
    def made_up(self) -> tuple[float | None, ...]:
        """Share of the frozen denoiser's error that the numbers make up for held-out pictures, by slot.

        None for a slot in which nothing is measured.
        """
        slots = self.slots.of(torch.tensor(self.times)).numpy()
        sums = [self.errors[:, slots == k].sum((1, 2)) for k in range(len(self.slots.ends))]
        return tuple(float(1 - coded / frozen) if frozen > 0 else None for frozen, coded in sums)

    @property
    def all_made_up(self) -> tuple[float, Interval]:
        """The share over all timesteps, and its 95% interval over held-out pictures."""
        frozen, coded = self.errors.mean(1)
        found = interval(lambda a, b: 1 - b.mean(-1) / a.mean(-1), [frozen, coded], paired=True)
        return float(1 - coded.mean() / frozen.mean()), found

    @property
    def statement(self) -> str:
        """The outcome in a few sentences."""
        share, (low, high) = self.all_made_up
        told = [
            f"The numbers make up {share:.1%} (95% {low:.1%} to {high:.1%}) of the frozen denoiser's error for "
            "pictures that they were not taught with."
        ]
        for one in self.labels:
            told.append(
                f"{one.column} is named right for {one.accuracies[-1]:.2f} of a label's pictures by all numbers"
            )
            if len(self.slots.sizes) > 1:
                told[-1] += f", and for {one.accuracies[one.best]:.2f} by those of slot {one.best + 1}, the best"
            told[-1] += f" (by chance {one.chance:.2f})."
        return " ".join(told)

    @property
    def warnings(self) -> list[str]:
        """Sentences on what the result cannot be trusted for."""
        share, (low, _) = self.all_made_up
        found = []
        if low <= 0 or share < LEAST_SHARE:
            found.append(
                f"the numbers make up {share:.1%} of the frozen denoiser's error, next to nothing: drawings with "
                "swapped slots are those of the noise alone; give more pictures, or more --steps"
            )
        for one in self.labels:
            if one.intervals[-1][0] <= one.chance:
                found.append(f"{one.column} is read from the numbers no better than by chance ({one.chance:.2f})")
        return found

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a slot and label, then of all numbers; the keys are `COLUMNS`."""
        share, _ = self.all_made_up
        whole = (ALL, 0, self.slots.ends[-1] - 1, self.slots.numbers, self.confused[-1], share)
        each = zip(self.slots.starts, self.slots.ends, self.slots.sizes, self.confused, self.made_up, strict=True)
        slots = [(str(k + 1), start, end - 1, *rest) for k, (start, end, *rest) in enumerate(each)]
        found = []
        for place, about in enumerate([*slots, whole]):
            answers: list[tuple[Any, ...]] = [
                (one.column, one.accuracies[place], *one.intervals[place]) for one in self.labels
            ] or [(None, None, None, None)]
            found += [dict(zip(COLUMNS, (*about, *answer), strict=True)) for answer in answers]
        return found

    def lines(self) -> list[tuple[str, ...]]:
        """Texts for people: a head, a line a slot, and one of all numbers, with the accuracy of each label."""
        rows, step = self.rows(), max(1, len(self.labels))
        lines = [("slot", "timesteps", "numbers", "confused", "made up", *(one.column for one in self.labels))]
        for place in range(0, len(rows), step):
            row, accuracies = rows[place], [one["accuracy"] for one in rows[place : place + step] if one["label"]]
            lines.append(
                (
                    row["slot"],
                    f"{row['first_timestep']} to {row['last_timestep']}",
                    str(row["numbers"]),
                    f"{row['confused']:.2f}",
                    "-" if row["made_up"] is None else f"{row['made_up']:.1%}",
                    *(f"{one:.2f}" for one in accuracies),
                )
            )
        return lines

    def figures(self) -> dict[str, Any]:
        """The share made up, with its interval, and by label what all numbers and the best slot tell."""
        share, bounds = self.all_made_up
        labels = {
            one.column: {
                "accuracy": one.accuracies[-1],
                "interval": list(one.intervals[-1]),
                "best_slot": one.best + 1,
                "best_accuracy": one.accuracies[one.best],
                "chance": one.chance,
            }
            for one in self.labels
        }
        return {"pictures": len(self.names), "made_up": share, "made_up_interval": list(bounds), "labels": labels}

    @property
    def drawings(self) -> tuple[str, ...]:
        """Names of a pair's drawings."""
        return DRAWINGS[:2] + (DRAWINGS[2:4] if len(self.slots.sizes) > 1 else DRAWINGS[4:])

    def save(self, folder: Path) -> None:
        """Writes the result, the table of slots, the numbers of each picture as `codes.csv`, and the drawings.

        `images/PAIR-DRAWING.png` has the drawings of a pair, numbered from 0, and `images/PAIR-original-0.png` and
        `-1.png` its pictures.
        """
        columns = [PICTURE, *(f"z{k + 1}" for k in range(self.slots.numbers))]
        rows = [
            dict(zip(columns, (name, *code), strict=True))
            for name, code in zip(self.names, self.codes.tolist(), strict=True)
        ]
        atomic_write(folder / CODES, rows_csv(rows, columns))
        for place, pixels in enumerate(self.originals):
            save_png(pixels, folder / IMAGES / f"{place // 2}-original-{place % 2}.png")
        for pair, row in enumerate([] if self.swapped is None else self.swapped):
            for name, pixels in zip(self.drawings, row, strict=True):
                save_png(pixels, folder / IMAGES / f"{pair}-{name}.png")
        super().save(folder)

    def _parts(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        tensors = {f"{WEIGHTS}{name}": value for name, value in self.encoder.state_dict().items()}
        tensors |= {"codes": self.codes, "errors": torch.from_numpy(self.errors), "originals": self.originals}
        if self.swapped is not None:
            tensors["swapped"] = self.swapped
        for number, one in enumerate(self.labels):
            tensors |= {f"{name}.{number}": torch.from_numpy(getattr(one, name)) for name in ARRAYS}
        about = {name: getattr(self, name) for name in ("method", "reading", "confused", "names", "times", "pairs")}
        about |= {"ends": self.slots.ends, "sizes": self.slots.sizes}
        return tensors, about | {"labels": [[one.column, list(one.classes)] for one in self.labels]}

    @classmethod
    def _of(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> "PictureEncodings":
        slots = NoiseSlots(tuple(map(int, about["ends"])), tuple(map(int, about["sizes"])))
        names, codes, errors = tuple(map(str, about["names"])), tensors["codes"], tensors["errors"].numpy()
        if codes.shape != (len(names), slots.numbers) or errors.shape[:2] != (2, len(about["times"])):
            raise ValueError("the numbers do not fit the slots")
        labels = [
            LabelSlots(str(column), tuple(map(str, classes)), *(tensors[f"{name}.{k}"].numpy() for name in ARRAYS))
            for k, (column, classes) in enumerate(about["labels"])
        ]
        if any(len(one.predicted) != len(slots.ends) + 1 or len(one.classes) < 2 for one in labels):
            raise ValueError("the labels do not fit the slots")
        return cls(
            method=str(about["method"]), reading=str(about["reading"]), slots=slots,
            confused=tuple(map(float, about["confused"])), names=names, codes=codes, encoder=_encoder(slots, tensors),
            times=tuple(map(int, about["times"])), errors=errors, pairs=tuple(map(str, about["pairs"])),
            originals=tensors["originals"], swapped=tensors.get("swapped"), labels=tuple(labels),
        )  # fmt: skip


def _encoder(slots: NoiseSlots, tensors: Mapping[str, Tensor]) -> PictureEncoder:
    """The encoder of its weights. Raises `ValueError` for weights of another one."""
    encoder = PictureEncoder(slots.numbers)
    weights = {name.removeprefix(WEIGHTS): one for name, one in tensors.items() if name.startswith(WEIGHTS)}
    try:
        encoder.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError("the weights are of another encoder") from error
    return encoder.eval().requires_grad_(False)
