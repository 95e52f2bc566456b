"""Series of numbers of known class, read from a file as data."""

import csv
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.data_files import read_bytes, read_text
from intaglio.errors import BadInput
from intaglio.printable import one_line
from intaglio.runs.plain_json import digest
from intaglio.runs.tensors import tensor_hash

KEYS = ("series", "time", "label")
LARGEST = 2**30
"""Bytes of the arrays of an `.npz`, once unpacked."""


@dataclass(frozen=True, eq=False)
class LabelledSeries:
    """Series of equal length, each of a class."""

    names: tuple[str, ...]
    values: Float[Tensor, "n t d"]
    labels: tuple[str, ...]
    channels: tuple[str, ...]
    times: tuple[float, ...] = ()
    """As they are told; empty counts them from 0."""
    groups: tuple[str, ...] = ()
    """Of each series, such as the prompt of a drawing; those of a group are held out together. Empty for none."""

    def __post_init__(self) -> None:
        finite = self.values.isfinite().all(2).all(1)
        if not bool(finite.all()):
            bad = one_line(self.names[int((~finite).nonzero()[0, 0])])
            raise BadInput(f"series {bad} has a number that is not finite; leave it out")
        if len(self.classes) < 2:
            raise BadInput("all series are of one class; give series of two classes or more")

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, sorted."""
        return tuple(sorted(set(self.labels)))

    @cached_property
    def codes(self) -> Int[Tensor, "n"]:
        """Places of their classes."""
        return torch.tensor([self.classes.index(one) for one in self.labels])

    @cached_property
    def hash(self) -> str:
        """64 hex digits that change with whatever a result follows from."""
        return digest([tensor_hash(self.values), self.labels, self.names, self.channels, self.times, self.groups])

    @property
    def told_times(self) -> tuple[float, ...]:
        """The times as they are told, or counted from 0."""
        return self.times or tuple(float(t) for t in range(self.values.shape[1]))


def read_series(path: Path) -> LabelledSeries:
    """Series of a file.

    An `.npz` has `series` [n, t, d] or [n, t] and `labels` [n], and may have `names` [n]; nothing is unpickled. A CSV
    file has columns `series`, `time` and `label` and one a channel, a row a time of a series.

    Raises `BadInput` for a file that is no such table, and for series of other lengths than the first.
    """
    return _of_archive(path) if path.suffix.lower() == ".npz" else _of_rows(path)


def _of_archive(path: Path) -> LabelledSeries:
    try:
        with zipfile.ZipFile(io.BytesIO(read_bytes(path))) as archive:
            if sum(one.file_size for one in archive.infolist()) > LARGEST:
                raise BadInput(f"{path} unpacks to more than 1 GiB; give fewer series")
        with np.load(io.BytesIO(read_bytes(path)), allow_pickle=False) as stored:
            values = np.asarray(stored["series"], np.float32)
            labels = tuple(str(one) for one in stored["labels"].tolist())
            names = tuple(map(str, stored["names"].tolist())) if "names" in stored else _numbered(len(values))
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, EOFError) as error:
        raise BadInput(
            f"{path} cannot be read as series ({error}); give an .npz with arrays series [n, t, d] and labels [n]"
        ) from error
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or not 0 < len(values) == len(labels) == len(names) or not values.size:
        raise BadInput(f"{path} has series of shape {values.shape} and {len(labels)} labels; give [n, t, d] and n")
    return LabelledSeries(names, torch.from_numpy(values), labels, _numbered(values.shape[2], "channel "))


def _of_rows(path: Path) -> LabelledSeries:
    try:
        table = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
        columns = [name.strip() for name in table.fieldnames or ()]
        table.fieldnames = columns
        rows = list(table)
    except csv.Error as error:
        raise BadInput(f"{path} cannot be read as a table ({error}); give a CSV file") from error
    channels = tuple(name for name in columns if name not in KEYS)
    if lacking := [name for name in KEYS if name not in columns]:
        raise BadInput(f"{path} has no column {lacking[0]}; give columns series, time and label, and one a channel")
    if not channels or len(set(columns)) < len(columns) or not rows:
        raise BadInput(f"{path} has no rows, or no columns of numbers of different names beside {', '.join(KEYS)}")
    grouped = dict[str, list[tuple[float, list[float], str]]]()
    for line, row in enumerate(rows, 2):
        try:
            point = (float(row["time"]), [float(row[name]) for name in channels], str(row["label"]).strip())
        except (TypeError, ValueError) as error:
            raise BadInput(f"line {line} of {path} has a time or a channel that is no number; give one") from error
        grouped.setdefault(str(row["series"]).strip(), []).append(point)
    times = sorted(one[0] for one in next(iter(grouped.values())))
    for name, points in grouped.items():
        _check_points(name, points, times, path)
    ordered = [sorted(points, key=lambda one: one[0]) for points in grouped.values()]
    values = torch.tensor([[point[1] for point in points] for points in ordered])
    return LabelledSeries(tuple(grouped), values, tuple(points[0][2] for points in ordered), channels, tuple(times))


def _check_points(
    name: str, points: Sequence[tuple[float, list[float], str]], times: Sequence[float], path: Path
) -> None:
    if len(set(times)) < len(times) or sorted(one[0] for one in points) != list(times):
        raise BadInput(f"series {one_line(name)} of {path} has not the {len(times)} times of the first, each once")
    if len({one[2] for one in points}) != 1 or not points[0][2]:
        raise BadInput(f"series {one_line(name)} of {path} has not one label; give the same in all of its rows")


def _numbered(count: int, before: str = "series ") -> tuple[str, ...]:
    return tuple(f"{before}{k}" for k in range(count))
