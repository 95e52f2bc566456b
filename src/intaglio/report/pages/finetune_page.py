"""The report page of a fine-tune: samples, judgements, losses and training pictures."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from intaglio.report.kit.charts import curve_plot, watch_plot
from intaglio.report.kit.format import count, flattened, plain, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import Key, Row, RunPage, Shown
from intaglio.report.pages.run_pages import PICTURES, curves, result_rows, state, volatile
from intaglio.runs.read import RunData

SAMPLES = re.compile(r"samples-\d+")
WATCHED = re.compile(r"watch/\d+")
WATCH = "watch"
"""The stream of a run's metrics that has its judgements."""


def page_of(run: RunData, page_folder: Path) -> RunPage:
    """The page of a `finetune` run."""
    samples = {_sample_caption(name): path for name, path in run.pictures.items() if SAMPLES.fullmatch(name)}
    if _sample_caption(f"samples-{run.summary.get('steps', 0):06d}") not in samples:
        samples |= {f"at the end, {path.stem}": path for path in sorted((run.folder / "samples").glob("*.png"))}
    data = {name.split("/", 1)[1]: path for name, path in run.pictures.items() if name.startswith("data/")}
    classes = {name.split("/", 1)[1]: path for name, path in run.pictures.items() if name.startswith("class/")}
    judged = {f"step {int(name.split('/')[1])}": path for name, path in run.pictures.items() if WATCHED.fullmatch(name)}
    pairs = _pairs(run)
    shown = [dict(list(group.items())[:PICTURES]) for group in (pairs, samples, data, classes, judged)]
    album = Album(page_folder, sum(map(len, shown)), run=run.folder)
    beside, drawn, trained, kept, seen = [
        [Shown(album.thumb(path), name) for name, path in group.items()] for group in shown
    ]
    summary = run.summary
    return RunPage(
        template="finetune.html.j2",
        **title(run, _headline(run)),
        lead=_lead(run),
        beside=beside,
        keys=_keys(summary),
        warnings=run.warnings,
        watch=_watch_figure(run),
        watch_text=_watch_text(run),
        probes=_probe_figures(run),
        judged=seen,
        curves=curves(run, without=WATCH),
        samples=drawn,
        samples_text="The same prompts and the same seeds each time, so that only the model differs.",
        data=trained,
        data_text=_of(trained, data, "as the model was given them"),
        classes=kept,
        classes_text=_of(kept, classes, "which keep what the model knew of their kind"),
        plan=result_rows(run.records.get("plan", {}).get("plan", {})),
        result=result_rows(summary),
    )


def _pairs(run: RunData) -> dict[str, Path]:
    """Pictures from equal noise by their captions: the base's, and the one of what was tuned after it."""
    before = {name.partition("/")[2]: path for name, path in run.pictures.items() if name.startswith("before/")}
    after = {path.stem: path for path in (run.folder / "samples").glob("*.png")}
    found = {}
    for name in sorted(before.keys() & after.keys()):
        found |= {f"seed {int(name) + 1}, base": before[name], f"seed {int(name) + 1}, tuned": after[name]}
    return found


def _of(shown: Sequence[Shown], known: Mapping[str, Path], clause: str) -> str:
    part = f"{len(shown)} of {len(known)} pictures" if len(shown) < len(known) else count(len(known), "picture")
    return f"{part}, {clause}."


def _sample_caption(name: str) -> str:
    return f"after {count(int(name.removeprefix('samples-')), 'step')}"


def _headline(run: RunData) -> str:
    head = str(run.summary.get("reading") or f"Tuned by {run.run.get('method')}")
    settings = run.run.get("settings") or {}
    head += " with random weights" if settings.get("bayesian") else ""
    steps = settings.get("steps")
    return f"{head} over {count(int(steps), 'step')}" if isinstance(steps, int) else head


def _lead(run: RunData) -> str:
    pictures, prompt = run.summary.get("pictures"), run.summary.get("prompt")
    on = f"on {count(pictures, 'picture')}" if isinstance(pictures, int) else ""
    words = f"under the prompt “{prompt}”" if prompt else ""
    if isinstance(prompts := run.summary.get("prompts"), int) and prompts > 1:
        words = f"under {prompts} captions, such as “{prompt}”"
    said = " ".join(part for part in (on, words) if part)
    found = str(run.summary.get("finding") or "")
    parts = (found, f"Tuned {said}." if said else "", str(run.summary.get("guarantee") or ""), state(run))
    return " ".join(part for part in parts if part)


def _keys(summary: Mapping[str, Any]) -> list[Key]:
    numbers = [(n, v) for n, v in flattened(summary) if isinstance(v, int | float) and not isinstance(v, bool)]
    return [Key(name.replace("_", " "), plain(value), volatile=volatile(name)) for name, value in numbers[:6]]


def _watch_figure(run: RunData) -> Markup | None:
    rows = run.metrics.get(WATCH)
    if not rows:
        return None
    fidelity, quality = ([(float(r["step"]), float(r[name])) for r in rows] for name in ("fidelity", "quality"))
    shaded = [(float(stage["first"]), float(stage["last"])) for stage in run.summary.get("corruption") or ()]
    return watch_plot(fidelity, quality, shaded, run.summary.get("kept_step"))


def _probe_figures(run: RunData) -> list[Row]:
    """Figures of the denoiser's diagnostics; empty for a run of a version without them."""
    rows = [row for row in run.metrics.get(WATCH) or () if row.get("deviation")]
    series = {
        name.replace("_", " "): [(float(row["step"]), float(row[name])) for row in rows]
        for name in ("pass_through", "collapse", "deviation")
    }
    deviation = {"deviation": series.pop("deviation")}
    figures = (("noise passed through, collapse", "share", series), ("estimated deviation", "deviation", deviation))
    return [Row(name, curve_plot(of, "step", label)) for name, label, of in figures] if rows else []


def _watch_text(run: RunData) -> str:
    """The corruption stages and the exported step, in words."""
    found, kept = run.summary.get("corruption") or (), run.summary.get("kept_step")
    said = [
        f"From step {stage['first']} to {stage['last']} the pictures lost their likeness to the training pictures "
        "while noise rose: the corruption stage."
        for stage in found
    ] or ["No corruption stage was found."]
    if kept is not None:
        said.append(f"The weights of step {kept} were exported.")
    return " ".join(said)
