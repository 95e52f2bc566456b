"""A fine-tune as a page, and any other run as plain tables."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from intaglio.report.kit.charts import curve_plot, watch_plot
from intaglio.report.kit.format import count, duration, flattened, is_place, plain, row, title
from intaglio.report.kit.run_data import RunData
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import Key, Row, RunPage, Shown, Table

ROWS = 200
PICTURES = 120
WINDOW = 20
SAMPLES = re.compile(r"samples-\d+")
WATCHED = re.compile(r"watch/\d+")
WATCH = "watch"
"""The stream of judgements while a model learned."""
TIMES = ("second", "step_s", "bytes")
"""A number whose name holds one of these may differ between two runs of the same work."""


def finetune_page(run: RunData, page_folder: Path) -> RunPage:
    """The page of a `finetune` run."""
    samples = {_sample_caption(name): path for name, path in run.pictures.items() if SAMPLES.fullmatch(name)}
    if _sample_caption(f"samples-{run.summary.get('steps', 0):06d}") not in samples:
        samples |= {f"at the end, {path.stem}": path for path in sorted((run.folder / "samples").glob("*.png"))}
    data = {name.split("/", 1)[1]: path for name, path in run.pictures.items() if name.startswith("data/")}
    classes = {name.split("/", 1)[1]: path for name, path in run.pictures.items() if name.startswith("class/")}
    judged = {f"step {int(name.split('/')[1])}": path for name, path in run.pictures.items() if WATCHED.fullmatch(name)}
    shown = [dict(list(group.items())[:PICTURES]) for group in (samples, data, classes, judged)]
    album = Album(page_folder, sum(map(len, shown)))
    drawn, learned, kept, seen = [[Shown(album.thumb(path), name) for name, path in group.items()] for group in shown]
    summary = run.summary
    return RunPage(
        template="finetune.html.j2",
        **title(run, _finetune_headline(run)),
        lead=_finetune_lead(run),
        keys=_keys(summary),
        warnings=run.warnings,
        watch=_watch_figure(run),
        watch_text=_watch_text(run),
        probes=_probe_figures(run),
        judged=seen,
        curves=_curves(run, without=WATCH),
        samples=drawn,
        samples_text="The same prompts and the same seeds each time, so that only the model differs.",
        data=learned,
        data_text=_of(learned, data, "as the model saw them"),
        classes=kept,
        classes_text=_of(kept, classes, "which keep what the model knew of their kind"),
        plan=result_rows(run.records.get("plan", {}).get("plan", {})),
        result=result_rows(summary),
    )


def _of(shown: Sequence[Shown], known: Mapping[str, Path], clause: str) -> str:
    part = f"{len(shown)} of {len(known)} pictures" if len(shown) < len(known) else count(len(known), "picture")
    return f"{part}, {clause}."


def plain_page(run: RunData, page_folder: Path) -> RunPage:
    """The page of a run of any other verb, or of one that is not finished."""
    names = list(run.pictures)[:PICTURES]
    album = Album(page_folder, len(names))
    verb, method = run.run.get("verb", "unknown"), run.run.get("method")
    return RunPage(
        template="plain.html.j2",
        **title(run, f"{verb} {method}" if method else str(verb)),
        lead=_state(run),
        warnings=run.warnings,
        result=result_rows(run.summary),
        curves=_curves(run),
        tables=[_table(kind, values) for kind, values in run.records.items()],
        pictures=[Shown(album.thumb(run.pictures[name]), name) for name in names],
    )


def result_rows(values: Mapping[str, Any]) -> list[Row]:
    """Rows of a nested mapping; durations and amounts of memory are volatile."""
    rows = []
    for name, value in flattened(values):
        label, shown = readable(name, value)
        made = row(label, shown)
        rows.append(Row(label, made.value, volatile=volatile(name), place=made.place))
    return rows


def readable(name: str, value: Any) -> tuple[str, Any]:
    """A stored name and value as a reader takes them: no underscores, megabytes, seconds with their unit."""
    if _is_number(value) and name.endswith("_bytes"):
        return name.removesuffix("_bytes").replace("_", " "), f"{value / 1e6:.3g} MB"
    if _is_number(value) and name.endswith("_s"):
        return name.removesuffix("_s").replace("_", " "), duration(value)
    if _is_number(value) and name.rsplit(".", 1)[-1] == "seconds":
        return name.replace("_", " "), duration(value)
    return name.replace("_", " "), f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value


def volatile(name: str) -> bool:
    return any(word in name for word in TIMES)


def _state(run: RunData) -> str:
    status = str(run.run.get("status") or "unknown")
    if status == "done":
        return "This run is done; what it found and left behind is below."
    if status == "failed":
        return f"This run failed: {run.run.get('error')} The same command goes on where it was."
    return f"This run is {status}: the same command, or `intaglio runs resume`, goes on where it was."


def _sample_caption(name: str) -> str:
    return f"after {count(int(name.removeprefix('samples-')), 'step')}"


def _finetune_headline(run: RunData) -> str:
    method = {"dreambooth": "All weights tuned (DreamBooth)", "lora": "Low-rank update tuned (LoRA)"}
    head = method.get(str(run.run.get("method")), f"Tuned by {run.run.get('method')}")
    settings = run.run.get("settings") or {}
    head += " with random weights" if settings.get("bayesian") else ""
    steps = settings.get("steps")
    return f"{head} over {count(int(steps), 'step')}" if isinstance(steps, int) else head


def _finetune_lead(run: RunData) -> str:
    pictures, prompt = run.summary.get("pictures"), run.summary.get("prompt")
    on = f"on {count(pictures, 'picture')}" if isinstance(pictures, int) else ""
    words = f"under the prompt “{prompt}”" if prompt else ""
    said = " ".join(part for part in (on, words) if part)
    return f"Tuned {said}. {_state(run)}" if said else _state(run)


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
    """None for a run of before there were probes."""
    rows = [row for row in run.metrics.get(WATCH) or () if row.get("deviation")]
    series = {
        name.replace("_", " "): [(float(row["step"]), float(row[name])) for row in rows]
        for name in ("pass_through", "collapse", "deviation")
    }
    deviation = {"deviation": series.pop("deviation")}
    figures = (("noise passed through, collapse", "share", series), ("estimated deviation", "deviation", deviation))
    return [Row(name, curve_plot(of, "step", label)) for name, label, of in figures] if rows else []


def _watch_text(run: RunData) -> str:
    """What the judgements came to, in words."""
    found, kept = run.summary.get("corruption") or (), run.summary.get("kept_step")
    said = [
        f"From step {stage['first']} to {stage['last']} the pictures lost their likeness to the training pictures "
        "while noise rose: the corruption stage."
        for stage in found
    ] or ["No corruption stage was found."]
    if kept is not None:
        said.append(f"What was exported are the weights of step {kept}.")
    return " ".join(said)


def _curves(run: RunData, without: str | None = None) -> list[Row]:
    """One figure a number a stream; what depends on the machine's speed is left out."""
    figures = []
    for stream, rows in run.metrics.items():
        if stream == without:
            continue
        names = [n for n in _numbers(rows) if n != "step" and not volatile(n)]
        for name in names[:6]:
            points = [(float(r.get("step", k)), float(r[name])) for k, r in enumerate(rows) if _is_number(r.get(name))]
            if len({value for _, value in points}) > 1:
                window = min(WINDOW, max(1, len(points) // 10))
                figures.append(
                    Row(f"{name.replace('_', ' ')} ({stream})", curve_plot({name: points}, "step", name, window))
                )
    return figures


def _numbers(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for r in rows for name, value in r.items() if _is_number(value)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _table(kind: str, values: Mapping[str, Mapping[str, Any]]) -> Table:
    flat = {key: dict(flattened(value)) for key, value in values.items()}
    heads = [h for h in dict.fromkeys(n for value in flat.values() for n in value) if not volatile(h)]
    heads = [h for h in heads if not any(is_place(value.get(h)) for value in flat.values())]
    shown = list(flat.items())[:ROWS]
    rows = [[key, *(plain(value[h]) if h in value else "" for h in heads)] for key, value in shown]
    left = len(flat) - len(shown)
    return Table(kind, ["", *heads], rows, f"and {left} more, in the run folder" if left > 0 else "")
