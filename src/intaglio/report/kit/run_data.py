"""What a report reads of a run folder. The folder is the truth; nothing here writes.

`run.json` is as `docs/architecture.md` says. An audit adds `verdict.json`:

    {"method": str, "score": str, "prompt": str,
     "questioned": [picture, ...], "controls": [picture, ...], "weights": {signal: share},
     "threshold": Threshold, "set_test": RankTest, "separation": Separation or null, "no_signal": str or null,
     "other_prompts": [OtherPrompt, ...]}

    picture = {"name": str, "role": "questioned" | "holdouts" | "controls", "score": float or null,
               "p_value": float or null, "called": bool or null, "truth": bool or null, "signals": {name: float},
               "images": {"original" | "partial" | "recovered": path relative to the run folder}}

as `intaglio.audit.membership.audit` writes it; `Threshold`, `RankTest` and `Separation` are the fields of the classes
of `intaglio.metrics`, `OtherPrompt` those of `intaglio.audit.membership.verdict`.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from intaglio.audit.membership.verdict import OtherPrompt
from intaglio.errors import BadInput
from intaglio.metrics.statistics.conformal import RankTest, Threshold
from intaglio.metrics.statistics.roc import Separation


@dataclass(frozen=True)
class RunData:
    """A run folder, read."""

    folder: Path
    run: dict[str, Any]
    """`run.json`"""
    metrics: dict[str, list[dict[str, Any]]]
    """Rows by stream."""
    records: dict[str, dict[str, dict[str, Any]]]
    """Recorded results by kind and key."""
    pictures: dict[str, Path]
    """Every PNG under `images/`, by its name without suffix, sorted."""

    @property
    def warnings(self) -> list[str]:
        return [str(message) for message in self.run.get("warnings") or ()]

    @property
    def summary(self) -> dict[str, Any]:
        return dict(self.run.get("summary") or {})


@dataclass(frozen=True)
class Judged:
    """A questioned picture, or a control, with its score."""

    name: str
    control: bool
    score: float
    """NaN where there is none."""
    p_value: float | None = None
    called: bool | None = None
    """None where no verdict is possible."""
    truth: bool | None = None
    """Whether it was in the set, where that is known."""
    similarity: float | None = None
    pictures: Mapping[str, Path] = field(default_factory=dict)
    """`original`, `partial`, `recovered`, as far as they were kept."""


@dataclass(frozen=True)
class Right:
    """How many verdicts are right, where the truth is known."""

    members: int
    members_called: int
    others: int
    others_called: int

    @property
    def known(self) -> int:
        return self.members + self.others

    @property
    def right(self) -> int:
        return self.members_called + self.others - self.others_called

    @property
    def words(self) -> str:
        parts = []
        if self.members:
            parts.append(f"{self.members_called} of {self.members} that were in the set are called")
        if self.others:
            parts.append(f"{self.others_called} of {self.others} that were not are called wrongly")
        return ", and ".join(parts)


@dataclass(frozen=True)
class Audit:
    """An audit's verdict."""

    method: str
    score_name: str
    prompt: str
    questioned: tuple[Judged, ...]
    controls: tuple[Judged, ...]
    threshold: Threshold
    set_test: RankTest
    separation: Separation | None
    no_signal: str | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    """Share of each signal in the score, where several were combined."""
    other_prompts: tuple[OtherPrompt, ...] = ()

    @property
    def asked(self) -> list[Judged]:
        """The questioned pictures proper, without those that are known not to be in the set and measure the audit."""
        return [j for j in self.questioned if j.truth is not False]

    @property
    def called(self) -> int:
        """How many of those asked about are called."""
        return sum(j.called is True for j in self.asked)

    @property
    def right(self) -> Right | None:
        known = [j for j in self.questioned if j.truth is not None and j.called is not None]
        if not known:
            return None
        members, others = [j for j in known if j.truth], [j for j in known if not j.truth]
        return Right(
            len(members), sum(bool(j.called) for j in members), len(others), sum(bool(j.called) for j in others)
        )


def read_run(folder: Path) -> RunData:
    """Read a run folder. Raises `BadInput` where it is none, or where `run.json` is damaged."""
    if not (folder / "run.json").is_file():
        raise BadInput(
            f"{folder} is not a run folder: it has no run.json; `intaglio runs list` shows the runs there are."
        )
    run = read_json(folder / "run.json")
    if not isinstance(run, dict):
        raise BadInput(f"{folder / 'run.json'} does not describe a run; run the command again to write it anew.")
    images = folder / "images"
    return RunData(
        folder=folder,
        run=run,
        metrics={file.stem: _rows(file) for file in sorted((folder / "metrics").glob("*.jsonl"))},
        records=_records(folder / "records"),
        pictures={f.relative_to(images).with_suffix("").as_posix(): f for f in sorted(images.rglob("*.png"))},
    )


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read ({error}); run the command again to write it anew.") from error


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics stream; a last line that a kill cut short is left out."""
    rows = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(text)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _records(folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """records/<kind>/<file>.json, each {"key": ..., "value": ...}."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for file in sorted(folder.glob("*/*.json")):
        content = read_json(file)
        if isinstance(content, dict):
            key = str(content.get("key", file.stem))
            value = content.get("value", content)
            found.setdefault(file.parent.name, {})[key] = value if isinstance(value, dict) else {"value": value}
    return {kind: dict(sorted(values.items())) for kind, values in found.items()}


def read_audit(run: RunData) -> Audit | None:
    """The run's verdict; None where there is none (another verb, or not finished)."""
    path = run.folder / "verdict.json"
    if not path.is_file():
        return None
    verdict = read_json(path)
    try:
        return Audit(
            method=str(verdict["method"]),
            score_name=str(verdict.get("score") or "score"),
            prompt=str(verdict.get("prompt") or ""),
            questioned=tuple(_judged(run, p, control=False) for p in verdict["questioned"]),
            controls=tuple(_judged(run, p, control=True) for p in verdict["controls"]),
            threshold=_threshold(verdict["threshold"]),
            set_test=RankTest(**verdict["set_test"]),
            separation=_separation(verdict.get("separation")),
            no_signal=verdict.get("no_signal"),
            weights={name: float(share) for name, share in (verdict.get("weights") or {}).items()},
            other_prompts=tuple(OtherPrompt(**one) for one in verdict.get("other_prompts") or ()),
        )
    except (KeyError, TypeError) as error:
        raise BadInput(f"{path} lacks {error}; run the audit again with this version.") from error


def _judged(run: RunData, picture: Mapping[str, Any], control: bool) -> Judged:
    score = picture.get("score")
    signals = picture.get("signals") or {}
    return Judged(
        name=str(picture["name"]).removeprefix(f"{picture.get('role')}/"),
        control=control,
        score=math.nan if score is None else float(score),
        p_value=picture.get("p_value"),
        called=picture.get("called"),
        truth=picture.get("truth"),
        similarity=signals.get("similarity"),
        pictures={kind: run.folder / path for kind, path in (picture.get("images") or {}).items() if path},
    )


def _threshold(values: Mapping[str, Any]) -> Threshold:
    interval = values.get("interval")
    return Threshold(**{**values, "interval": None if interval is None else tuple(interval)})


def _separation(values: Mapping[str, Any] | None) -> Separation | None:
    if values is None:
        return None

    def pair(v: Any) -> Any:
        return None if v is None else (float(v[0]), float(v[1]))

    plain = dict(values)
    plain["auc_interval"] = pair(plain.get("auc_interval"))
    plain["tpr_at_fpr"] = {float(rate): value for rate, value in plain.get("tpr_at_fpr", {}).items()}
    plain["tpr_intervals"] = {float(rate): pair(v) for rate, v in plain.get("tpr_intervals", {}).items()}
    plain["roc"] = tuple((float(f), float(t)) for f, t in plain.get("roc", ()))
    return Separation(**plain)
