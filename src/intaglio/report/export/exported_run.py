"""`ExportedRun`: a run as the stores of other programs take it, and `export_run`, which hands it to one of them."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args

from PIL import Image

from intaglio.errors import BadInput, IntaglioError
from intaglio.images.picture_file import readable
from intaglio.printable import printable
from intaglio.report.kit.format import flattened
from intaglio.report.render import report_text
from intaglio.runs.read import RunData, read_run

Store = Literal["mlflow", "tensorboard"]
"""The stores that are written, each through its own library."""
WRITERS = {store: f"intaglio.report.export.{store}_store" for store in get_args(Store)}
"""The module of each store; its function `write(run, folder)` returns the place that it wrote."""


@dataclass(frozen=True)
class Metric:
    """One number of a run at a step."""

    name: str
    """Stream and name, such as `train/loss`."""
    value: float
    step: int


@dataclass(frozen=True)
class ExportedRun:
    """The content of a run, by the kinds of things that stores keep."""

    data: RunData
    name: str
    params: Mapping[str, str | int | float | bool]
    """Settings by dotted names, and the seed; texts where they are neither numbers nor yes or no."""
    metrics: tuple[Metric, ...]
    """Every finite number of every stream."""
    summary: Mapping[str, float]
    """The numbers of the summary, by dotted names."""
    tags: Mapping[str, str]
    """Verb, method, status, device, command; the texts of the summary; each warning."""

    @classmethod
    def read(cls, folder: Path) -> "ExportedRun":
        """The run in a folder. Raises `BadInput` where there is none, or a file in it is damaged."""
        data = read_run(folder)
        numbers, texts = _summary(data)
        about = {key: data.run.get(key) for key in ("verb", "method", "status", "device", "error")}
        tags = {key: _text(value) for key, value in about.items() if value is not None}
        if command := data.run.get("command"):
            tags["command"] = _text(" ".join(map(str, ("intaglio", *command))))
        tags |= {f"warning.{number}": printable(words) for number, words in enumerate(data.warnings, 1)}
        settings = dict(flattened(data.run.get("settings") or {}))
        params = {name: _plain(value) for name, value in {**settings, "seed": data.run.get("seed")}.items()}
        return cls(data, folder.resolve().name, params, tuple(_metrics(data)), numbers, tags | texts)

    def report(self, page_folder: Path) -> str:
        """The report as HTML, for a page in `page_folder`."""
        return report_text(self.data.folder, page_folder)

    def pictures(self) -> Iterator[tuple[str, Path, Image.Image]]:
        """Name, file and RGB picture of every readable one; a link that leads out of the run is left out."""
        root = self.data.folder.resolve()
        for name, file in self.data.pictures.items():
            image = readable(file) if file.resolve().is_relative_to(root) else None
            if image is not None:
                yield name, file, image

    def moment(self, key: Literal["started", "finished"]) -> int | None:
        """Milliseconds since 1970 of the start or the end; None where the run does not say."""
        try:
            return round(datetime.fromisoformat(str(self.data.run.get(key))).timestamp() * 1000)
        except ValueError:
            return None


def export_run(folder: Path, store: Store, place: Path) -> str:
    """Writes the run in `folder` into the local store at `place`; returns where, as text.

    A run that was exported to it before is replaced. Raises `IntaglioError` where the store's library is missing, and
    `BadInput` where the folder is no run or the place cannot be one.
    """
    run = ExportedRun.read(Path(folder))
    place = Path(place).absolute()
    if place.exists() and not place.is_dir():
        raise BadInput(f"{place} is a file; give the folder of the {store} store")
    try:
        writer: Callable[[ExportedRun, Path], str] = import_module(WRITERS[store]).write
    except ImportError as error:
        raise IntaglioError(
            f"exporting to {store} needs its library ({error}); install it: pip install 'intaglio[{store}]'"
        ) from error
    return writer(run, place)


def _metrics(data: RunData) -> Iterator[Metric]:
    for stream, rows in data.metrics.items():
        for index, row in enumerate(rows):
            step = row.get("step", index)
            step = step if isinstance(step, int) else index
            for name, value in row.items():
                if name != "step" and _is_number(value):
                    yield Metric(f"{stream}/{name}", float(value), step)


def _summary(data: RunData) -> tuple[dict[str, float], dict[str, str]]:
    """Its finite numbers, and everything else as text."""
    flat = dict(flattened(data.summary))
    numbers = {name: float(value) for name, value in flat.items() if _is_number(value)}
    return numbers, {f"summary.{name}": _text(flat[name]) for name in flat if name not in numbers}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _plain(value: Any) -> str | int | float | bool:
    return value if isinstance(value, bool) or _is_number(value) else _text(value)


def _text(value: Any) -> str:
    return printable(str(value))
