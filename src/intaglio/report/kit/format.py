"""Rows of settings, inputs, versions and times from `run.json`, and the formatting of numbers."""

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from intaglio import __version__
from intaglio.amounts import energy_words
from intaglio.report.kit.views import Row
from intaglio.runs.read import RunData

VERBS = {
    "audit attribution": "Attribution of pictures to known sources",
    "audit components": "Credit of a drawing’s components",
    "audit drawings": "Pictures drawn again to check them",
    "audit inference": "Answers of a classifier elsewhere",
    "audit influence": "Audit of a model’s training pictures",
    "audit prompts": "Audit of a model’s prompts",
    "audit queries": "Audit of an engine that answers queries",
    "audit selection": "Training pictures chosen from a pool",
    "audit unlearn-attack": "Attack on an unlearned model",
    "audit unlearning": "Unlearning of a concept",
    "authenticate": "Audit of a fine-tuned model",
    "causal debias": "Effects from predicted outcomes",
    "causal cate": "Effects that differ between units",
    "causal transfer": "Outcomes in another environment",
    "explain collection": "A map of a collection",
    "explain blindspots": "Blind spots of a model",
    "explain components": "Components of a denoiser",
    "explain concepts": "Concepts of a classifier",
    "explain encodings": "Encodings of pictures by noise levels",
    "explain evaluate": "Explanations of a classifier beside each other",
    "explain paths": "Paths through a classifier",
    "explain repair": "A shortcut taken out of a classifier",
    "explain series": "Points of series that a classifier goes by",
    "explain sharpening": "An encoder that was sharpened",
    "explain surrogate": "Rules that say what a black box says",
    "explain words": "Words of a prompt",
    "explain features": "Labels read from features",
    "explain heads": "A head that can be read",
    "explain selectors": "A classifier that chooses its pixels",
    "explain counterfactuals": "Pictures with an attribute set",
    "explain bias": "Values that a model draws unevenly",
    "explain directions": "Directions of a denoiser",
    "explain weights": "Kernels of a network",
    "explain slices": "Slices of wrong answers",
    "explain": "Explanation of a classifier",
    "extract": "Extraction from a fine-tuned model",
    "discover": "Causal discovery in a table",
    "finetune": "Fine-tune of a model",
    "merge": "Merge of models",
    "bench": "Bench",
    "energy": "Energy of a model",
    "flow": "Normalising flow",
    "protect": "Protection of pictures",
    "protect certify": "Pictures classified with a proven radius",
    "protect detect": "Marks looked for in pictures",
    "protect fingerprint": "Marks put into pictures",
    "protect private": "A classifier trained privately",
    "protect purify": "Pictures cleaned",
    "shrink": "A model made smaller",
}


def of_work(known: Mapping[str, str], record: Mapping[str, Any]) -> str | None:
    """The entry for the work that `run.json` tells of; None where there is none.

    Sought are the verb with its method, the verb with a room, which is what the method's name begins with, as in
    `audit queries-averaging` and `audit unlearn-attack-seeds`, and the verb alone.
    """
    verb, method = str(record.get("verb")), str(record.get("method"))
    words = method.split("-")
    names = (f"{verb} {'-'.join(words[:count])}" for count in range(len(words), 0, -1))
    return next((known[name] for name in (*names, verb) if name in known), None)


def title(run: RunData, headline: str) -> dict[str, Any]:
    """The fields that every `Page` has, as keywords."""
    record = run.run
    return {
        "title": f"{headline} · Intaglio",
        "headline": headline,
        "kind": of_work(VERBS, record) or f"Run of {record.get('verb', 'unknown')}",
        "run_name": str(record.get("name", run.folder.name)),
        "intaglio_version": str(_versions(record).get("intaglio", __version__)),
        "finished": str(record.get("finished") or "not finished"),
        "settings": settings_rows(record.get("settings") or {}),
        "inputs": input_rows(record.get("inputs") or {}),
        "versions": version_rows(record),
        "moment": moment_rows(record),
        "command": shlex.join(["intaglio", *map(str, record["command"])]) if record.get("command") else "",
    }


def settings_rows(settings: Mapping[str, Any]) -> list[Row]:
    """One row a setting, nested ones with dotted names, in the order in which they were stored."""
    return [row(name, value) for name, value in flattened(settings)]


def row(name: str, value: Any) -> Row:
    """A setting's row; a path is kept apart, since it may differ between equal runs."""
    if is_path(value):
        return Row(name, "", place=str(value))
    return Row(name, plain(value))


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def input_rows(inputs: Mapping[str, Any]) -> list[Row]:
    """A row for each input: its content hash and its path."""
    rows = []
    for name, value in inputs.items():
        known = value if isinstance(value, Mapping) else {"path": value}
        digest = str(known.get("sha256") or known.get("fingerprint") or known.get("hash") or "")
        place = known.get("path")
        rows.append(Row(name, digest or "no hash", code=bool(digest), place=None if place is None else str(place)))
    return rows


def version_rows(record: Mapping[str, Any]) -> list[Row]:
    seed = record.get("seed")
    rows = [Row("seed", "none" if seed is None else str(seed)), Row("run format", plain(record.get("format")))]
    return rows + [Row(name, plain(value)) for name, value in _versions(record).items()]


def moment_rows(record: Mapping[str, Any]) -> list[Row]:
    """Times, machine and energy; all of it may differ between two runs of the same work."""
    rows = [Row("started", plain(record.get("started"))), Row("finished", plain(record.get("finished")))]
    if isinstance(record.get("seconds"), int | float):
        rows.append(Row("time worked", duration(record["seconds"])))
    rows += _energy_rows(record)
    if record.get("resumed"):
        rows.append(Row("resumed", count(int(record["resumed"]), "time")))
    rows.append(Row("device", plain(record.get("device"))))
    machine = record.get("machine")
    rows += settings_rows(machine) if isinstance(machine, Mapping) else [Row("machine", plain(machine))]
    return rows


def _energy_rows(record: Mapping[str, Any]) -> list[Row]:
    """Joules with what was measured and what was not, and the processor's time."""
    joules, origins, why = record.get("joules"), record.get("joules_by"), record.get("joules_why")
    words = plain(why or "not measured")
    if isinstance(joules, int | float):
        parts = origins.items() if isinstance(origins, Mapping) else ()
        by = ", ".join(f"{plain(name)} {plain(origin)}" for name, origin in parts)
        words = f"{energy_words(joules)} ({by}){f'; not measured: {plain(why)}' if why else ''}"
    rows = [Row("energy", words), *_estimate_rows(record)]
    if isinstance(spent := record.get("cpu_seconds"), int | float):
        rows.append(Row("processor time", duration(spent)))
    return rows


def _estimate_rows(record: Mapping[str, Any]) -> list[Row]:
    """The estimate of before the run, and measured over estimated; none where there was none."""
    summary = record.get("summary")
    told = summary.get("energy_estimate") if isinstance(summary, Mapping) else None
    if not isinstance(told, Mapping) or not isinstance(amount := told.get("amount"), int | float):
        return []
    joules = told.get("unit") == "J"
    found = record.get("joules" if joules else "cpu_seconds")
    words = energy_words(amount) if joules else f"{amount:.3g} processor seconds"
    ratio = f"; measured over estimated {found / amount:.2f}" if isinstance(found, int | float) and amount > 0 else ""
    planned = "at most, for all the work that was planned" if told.get("at_most") is True else "for the work planned"
    return [Row("estimated before", f"{words} {planned}, by the machine's profile{ratio}")]


def _versions(record: Mapping[str, Any]) -> Mapping[str, Any]:
    versions = record.get("versions")
    return versions if isinstance(versions, Mapping) else {}


def is_path(value: Any) -> bool:
    """Whether a setting is an absolute path, of either kind of system."""
    if isinstance(value, Path):
        return True
    return isinstance(value, str) and (PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute())


def plain(value: Any) -> str:
    """A value as text for readers."""
    match value:
        case None:
            return "not set"
        case bool():
            return "yes" if value else "no"
        case float():
            return decimal(value)
        case str():
            return value or "(empty)"
        case Mapping():
            return ", ".join(f"{k}: {plain(v)}" for k, v in value.items()) or "none"
        case Sequence():
            return ", ".join(plain(v) for v in value) or "none"
    return str(value)


def decimal(value: float | int | None, digits: int = 4) -> str:
    """A number with a few significant digits; "undefined" for None and NaN."""
    if value is None or math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.{digits}g}".replace("-", "−")


def decibels(value: float) -> str:
    """A ratio in dB with one place after the point; "no change" for NaN."""
    return "no change" if math.isnan(value) else f"{value:.1f} dB"


def rate_text(value: float | int) -> str:
    """A rate in [0, 1] as a percentage of about two significant digits: 5%, 0.6%, 17%, <0.1%."""
    if 0 < value < 0.0005:
        return "<0.1%"
    if value < 0.0095 or 0.995 < value < 1:
        return f"{value * 100:.1f}%".replace("0.0%", "0%").replace("100.0%", ">99.9%")
    return "100%" if value == 1 else f"{value * 100:.2g}%"


def interval_text(interval: Sequence[float | int] | None, written: Any = rate_text) -> str:
    """A 95% interval as text, or that there is none."""
    return "no interval" if interval is None else f"95% interval {written(interval[0])} to {written(interval[1])}"


def area_text(value: float | int | None) -> str:
    """An AUC, with three decimals."""
    return "undefined" if value is None or math.isnan(value) else f"{value:.3f}"


def area_interval(interval: Sequence[float | int] | None) -> str:
    """The interval of an AUC; the bootstrap's has no width where the two groups do not overlap."""
    if interval is not None and interval[0] == interval[1]:
        return "no overlap, so no interval can be estimated"
    return interval_text(interval, area_text)


def duration(seconds: float | int) -> str:
    """Seconds as text: 42 s, 2 min 05 s, 3 h 20 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def count(number: int, thing: str, things: str | None = None) -> str:
    """A number with its noun: 1 picture, 3 pictures."""
    return f"{number} {thing if number == 1 else things or thing + 's'}"
