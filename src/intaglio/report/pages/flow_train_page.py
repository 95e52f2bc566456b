"""The report page of a flow's training: pictures it draws, its losses and training pictures."""

from collections.abc import Mapping
from pathlib import Path

from intaglio.report.kit.format import count, decimal, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import Key, RunPage, Shown
from intaglio.report.pages.run_pages import curves, result_rows, state
from intaglio.runs.read import RunData


def page_of(run: RunData, page_folder: Path) -> RunPage:
    """The page of a `flow train` run."""
    samples, data = _named(run, "samples/"), _named(run, "data/")
    album = Album(page_folder, len(samples) + len(data), run=run.folder)
    drawn = [
        Shown(album.thumb(path), f"seed {int(name)}" if name.isdigit() else name) for name, path in samples.items()
    ]
    shown = [Shown(album.thumb(path), name) for name, path in data.items()]
    return RunPage(
        template="flow_train.html.j2",
        **title(run, _headline(run)),
        lead=state(run),
        warnings=run.warnings,
        keys=_keys(run),
        samples=drawn,
        samples_text=_samples_text(run, len(drawn)),
        curves=curves(run),
        data=shown,
        data_text=f"The first {count(len(shown), 'picture')} of those that were given, held-out ones among them.",
        result=result_rows(run.summary),
    )


def _named(run: RunData, folder: str) -> Mapping[str, Path]:
    """The pictures of one of the run's folders, by their names in it."""
    return {name.removeprefix(folder): path for name, path in run.pictures.items() if name.startswith(folder)}


def _headline(run: RunData) -> str:
    pictures, steps = run.summary.get("pictures"), run.summary.get("steps")
    if not isinstance(pictures, int) or not isinstance(steps, int):
        return "A flow in training"
    return f"A flow trained on {count(pictures, 'picture')} over {count(steps, 'step')}"


def _samples_text(run: RunData, drawn: int) -> str:
    classes = run.summary.get("classes")
    turns = f", of the classes {', '.join(map(str, classes))} in turns" if isinstance(classes, list) and classes else ""
    return (
        f"{count(drawn, 'picture')} from seeds, without guidance{turns}; decoded exactly, with the weights at the end."
    )


def _keys(run: RunData) -> list[Key]:
    """Numbers of the summary, each in words."""
    keys = []
    for name, said, more in (
        ("held_out_loss", "Loss on held-out pictures", "nats a dimension, less ln(2 pi) / 2; lower is better"),
        ("loss_last_tenth", "Loss of the last tenth of the steps", "in the same unit"),
        ("parameters", "Parameters", ""),
    ):
        value = run.summary.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            keys.append(Key(said, f"{value:,}" if isinstance(value, int) else decimal(value), more))
    return keys
