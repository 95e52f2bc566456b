"""TensorBoard: a run as event files in a folder of its name, with its report beside them."""

import shutil
from pathlib import Path

import numpy as np
import tensorboard  # noqa: F401  # pyright: ignore[reportMissingImports] - its absence is noticed here
from torch.utils.tensorboard import SummaryWriter

from intaglio.errors import BadInput
from intaglio.files import atomic_write
from intaglio.report.export.exported_run import ExportedRun

REPORT = "report.html"
EVENTS = "events.out.tfevents."


def write(run: ExportedRun, folder: Path) -> str:
    """Writes a run into `folder/<its name>`, which appears once it is whole; returns that folder.

    Raises `BadInput` where a folder of that name is there which holds something else.
    """
    place, partial = folder / run.name, folder / f".{run.name}.partial"
    if place.exists() and not _is_ours(place):
        raise BadInput(f"{place} holds files that are no export; give another folder, or remove it")
    shutil.rmtree(partial, ignore_errors=True)
    with SummaryWriter(str(partial)) as writer:
        _write_values(writer, run)
        for name, _, picture in run.pictures():
            writer.add_image(name, np.asarray(picture), dataformats="HWC")
    atomic_write(partial / REPORT, run.report(place))
    shutil.rmtree(place, ignore_errors=True)
    partial.rename(place)
    return str(place)


def _write_values(writer: SummaryWriter, run: ExportedRun) -> None:
    """Settings with the numbers of the summary as hyperparameters, metrics with their steps, tags as texts."""
    started = (run.moment("started") or 0) / 1000
    for one in run.metrics:
        writer.add_scalar(one.name, one.value, one.step, walltime=started)
    figures = {f"summary/{name}": value for name, value in run.summary.items()}
    writer.add_hparams(dict(run.params), figures, run_name=".")
    for name, words in run.tags.items():
        writer.add_text(name, words)


def _is_ours(place: Path) -> bool:
    """Whether a folder holds nothing but what `write` leaves."""
    return place.is_dir() and all(file.name == REPORT or file.name.startswith(EVENTS) for file in place.iterdir())
