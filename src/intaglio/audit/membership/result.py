"""The result of a membership audit: every picture with its verdict, and how far it carries; stored and read again.

`verdict.json` in the run's folder:

    {"method", "score", "prompt", "own_captions", "statement", "no_signal", "weights": {signal: share},
     "readings": {signal: words}, "two_sided": [signal, ...], "captions": {kind: words}, "story",
     "limits": {heading: words},
     "questioned": [picture, ...], "controls": [picture, ...], "threshold": Threshold, "set_test": RankTest,
     "separation": Separation or null, "other_prompts": [OtherPrompt, ...], "diagnostics": {...}}

    picture = {"name", "role": "questioned" | "holdouts" | "controls", "score": float or null,
               "p_value": float or null, "called": bool or null, "truth": bool or null, "words",
               "signals": {name: float}, "images": {kind: path relative to the folder}}
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from intaglio.audit.membership.verdict import OtherPrompt
from intaglio.files import atomic_write
from intaglio.images.notebook import result_html
from intaglio.metrics.statistics.conformal import RankTest, Threshold, p_values
from intaglio.metrics.statistics.roc import Separation
from intaglio.runs.plain_json import to_json
from intaglio.runs.read import load_result
from intaglio.runs.tables import rows_csv, without_nan

Role = Literal["questioned", "holdouts", "controls"]
FILE = "verdict.json"
ORIGINAL = "original"
"""The kind of picture that is there whatever the method."""


@dataclass(frozen=True)
class JudgedPicture:
    """One picture of an audit with its score and, unless it is a control, its verdict."""

    name: str
    role: Role
    score: float
    """NaN where there is none."""
    p_value: float | None = None
    """None for a control."""
    called: bool | None = None
    """Whether it is called "in the set"; None where no verdict is possible."""
    truth: bool | None = None
    """Whether it was in the set, where that is known."""
    words: str = ""
    """The verdict in words."""
    signals: Mapping[str, float] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    """Paths relative to the run's folder by kind, as far as they were kept."""

    @property
    def shown_name(self) -> str:
        """The name to show: a questioned picture's own; others have their role before it."""
        return self.name if self.role == "questioned" else f"{self.role}/{self.name}"

    @property
    def control(self) -> bool:
        """Whether it is one of the controls."""
        return self.role == "controls"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they are stored."""
        return {**vars(self), "name": self.shown_name}

    @property
    def similarity(self) -> float | None:
        """Similarity of the picture and its recovery, where the method measured it."""
        return self.signals.get("similarity")


@dataclass(frozen=True)
class KnownTruth:
    """Counts of right and wrong verdicts, where the truth is known."""

    members: int
    members_called: int
    others: int
    others_called: int

    @property
    def known(self) -> int:
        """Pictures whose truth is known."""
        return self.members + self.others

    @property
    def right(self) -> int:
        """Members that are called, and others that are not."""
        return self.members_called + self.others - self.others_called

    @property
    def words(self) -> str:
        """The counts in words."""
        parts = []
        if self.members:
            parts.append(f"{self.members_called} of {self.members} that were in the set are called")
        if self.others:
            parts.append(f"{self.others_called} of {self.others} that were not are called wrongly")
        return ", and ".join(parts)


@dataclass(frozen=True)
class AuditResult:
    """The outcome of a membership audit."""

    method: str
    """The name of the method that was asked for."""
    score_name: str
    """What the verdict's score is, in words."""
    prompt: str
    questioned: tuple[JudgedPicture, ...]
    """In the order they were given; known holdouts, which measure the audit itself, come after them."""
    controls: tuple[JudgedPicture, ...]
    threshold: Threshold
    set_test: RankTest
    """Of the whole questioned set against the controls."""
    separation: Separation | None = None
    """Of questioned pictures, taken to be members, and known holdouts; None without holdouts."""
    statement: str = ""
    """The outcome in one or two sentences."""
    no_signal: str | None = None
    """Why the models show no trace at all of the questioned pictures; None where they do."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Share of each signal in the score, where several were combined."""
    readings: Mapping[str, str] = field(default_factory=dict)
    """What each signal of the verdict says, as far as its method tells."""
    two_sided: tuple[str, ...] = ()
    """Those signals of the verdict, by shown name, whose low values count as its high ones do."""
    captions: Mapping[str, str] = field(default_factory=dict)
    """The kinds of pictures that the method gave, each with its caption."""
    story: str = ""
    """How those pictures are to be looked at."""
    limits: Mapping[str, str] = field(default_factory=dict)
    """What those pictures do not prove: sentences by heading."""
    other_prompts: tuple[OtherPrompt, ...] = ()
    own_captions: bool = False
    """Whether each picture was asked about under its own caption, in place of `prompt`."""
    diagnostics: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = field(default=(), compare=False)
    """Kept in `run.json`, not in `verdict.json`."""

    @property
    def asked(self) -> list[JudgedPicture]:
        """The questioned pictures proper, without those that are known not to be in the set and measure the audit."""
        return [judged for judged in self.questioned if judged.truth is not False]

    def ranked(self, pictures: Iterable[JudgedPicture]) -> list[JudgedPicture]:
        """The pictures, the one that speaks most for the set first, those without a score last.

        By score, or where both sides count by p-value against the controls, then by distance from their median.
        """
        if self.threshold.sides == "upper":
            return sorted(pictures, key=lambda one: (-_or_lowest(one.score), one.name))
        nulls = np.array([one.score for one in self.controls if math.isfinite(one.score)])
        middle = float(np.median(nulls)) if nulls.size else 0.0

        def key(one: JudgedPicture) -> tuple[float, float, str]:
            if not math.isfinite(one.score):
                return math.inf, 0.0, one.name
            return float(p_values([one.score], nulls, "both")[0]), -abs(one.score - middle), one.name

        return sorted(pictures, key=key)

    @property
    def called(self) -> int:
        """Number of pictures called among those asked about."""
        return sum(judged.called is True for judged in self.asked)

    @property
    def known_truth(self) -> KnownTruth | None:
        """Counts of right verdicts; None where no truth is known."""
        known = [j for j in self.questioned if j.truth is not None and j.called is not None]
        if not known:
            return None
        members, others = [j for j in known if j.truth], [j for j in known if not j.truth]
        return KnownTruth(len(members), _called(members), len(others), _called(others))

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a picture: role, name, score, verdict, and every signal."""
        columns = ("role", "name", "score", "p_value", "called", "truth", "words")
        every = [one.to_dict() for one in (*self.questioned, *self.controls)]
        return [{**{column: one[column] for column in columns}, **one["signals"]} for one in every]

    def to_frame(self) -> Any:
        """A pandas DataFrame of `rows`, indexed by name."""
        import pandas as pd  # only who asks for a frame waits for it

        return pd.DataFrame(self.rows()).set_index("name")

    def figures(self) -> dict[str, Any]:
        """Counts and error rates."""
        return {
            "statement": self.statement,
            "pictures": len(self.asked),
            "called": self.called,
            "controls": self.threshold.controls,
            "auc": None if self.separation is None else self.separation.auc,
            "set_p_value": self.set_test.p_value,
        }

    def _repr_html_(self) -> str:
        """Counts and the pictures' verdicts, for notebooks."""
        columns = ("name", "role", "score", "p_value", "called", "truth")
        rows = [{name: row[name] for name in columns} for row in self.rows()]
        return result_html(f"Audit by {self.method}", self.figures(), rows)

    def to_dict(self) -> dict[str, Any]:
        """The content of `verdict.json`."""
        return {
            "method": self.method,
            "score": self.score_name,
            "prompt": self.prompt,
            "own_captions": self.own_captions,
            "other_prompts": [asdict(one) for one in self.other_prompts],
            "statement": self.statement,
            "no_signal": self.no_signal,
            "readings": dict(self.readings),
            "two_sided": list(self.two_sided),
            "captions": dict(self.captions),
            "story": self.story,
            "limits": dict(self.limits),
            "weights": dict(self.weights),
            "questioned": [one.to_dict() for one in self.questioned],
            "controls": [one.to_dict() for one in self.controls],
            "threshold": asdict(self.threshold),
            "set_test": asdict(self.set_test),
            "separation": None if self.separation is None else self.separation.to_dict(),
            "diagnostics": dict(self.diagnostics),
        }

    def save(self, folder: Path) -> None:
        """Writes `scores.csv` and `verdict.json`, each atomically; the pictures lie where `images` says."""
        rows = self.rows()
        atomic_write(folder / "scores.csv", rows_csv(rows, list(rows[0])))
        atomic_write(folder / FILE, to_json(without_nan(self.to_dict()), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "AuditResult | None":
        """The result stored in a run's folder; None where there is none (another verb, or not finished).

        Raises `BadInput` for a file that is damaged, or that lacks what this version needs.
        """
        return load_result(Path(folder) / FILE, cls.from_dict, "audit")

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "AuditResult":
        """The inverse of `to_dict`; what files of earlier versions lack is left empty."""
        return cls(
            method=str(stored["method"]),
            score_name=str(stored.get("score") or "score"),
            prompt=str(stored.get("prompt") or ""),
            own_captions=bool(stored.get("own_captions")),
            questioned=tuple(_judged(one, "questioned") for one in stored["questioned"]),
            controls=tuple(_judged(one, "controls") for one in stored["controls"]),
            threshold=_threshold(stored["threshold"]),
            set_test=RankTest(**stored["set_test"]),
            separation=_separation(stored.get("separation")),
            statement=str(stored.get("statement") or ""),
            no_signal=stored.get("no_signal"),
            weights={name: float(share) for name, share in (stored.get("weights") or {}).items()},
            readings=dict(stored.get("readings") or {}),
            two_sided=tuple(map(str, stored.get("two_sided") or ())),
            captions=dict(stored.get("captions") or {}),
            story=str(stored.get("story") or ""),
            limits=dict(stored.get("limits") or {}),
            other_prompts=tuple(OtherPrompt(**one) for one in stored.get("other_prompts") or ()),
            diagnostics=dict(stored.get("diagnostics") or {}),
        )


def _called(pictures: Iterable[JudgedPicture]) -> int:
    return sum(bool(one.called) for one in pictures)


def _or_lowest(score: float) -> float:
    return -math.inf if math.isnan(score) else score


def _judged(stored: Mapping[str, Any], role: Role) -> JudgedPicture:
    score, role = stored.get("score"), stored.get("role") or role
    return JudgedPicture(
        name=str(stored["name"]).removeprefix("" if role == "questioned" else f"{role}/"),
        role=role,
        score=math.nan if score is None else float(score),
        p_value=stored.get("p_value"),
        called=stored.get("called"),
        truth=stored.get("truth"),
        words=str(stored.get("words") or ""),
        signals={name: math.nan if v is None else float(v) for name, v in (stored.get("signals") or {}).items()},
        images={kind: str(path) for kind, path in (stored.get("images") or {}).items() if path},
    )


def _threshold(stored: Mapping[str, Any]) -> Threshold:
    interval = stored.get("interval")
    return Threshold(**{**stored, "interval": None if interval is None else tuple(interval)})


def _separation(stored: Mapping[str, Any] | None) -> Separation | None:
    if stored is None:
        return None
    plain = dict(stored)
    plain["auc_interval"] = _pair(plain.get("auc_interval"))
    plain["tpr_at_fpr"] = {float(rate): value for rate, value in plain.get("tpr_at_fpr", {}).items()}
    plain["tpr_intervals"] = {float(rate): _pair(v) for rate, v in plain.get("tpr_intervals", {}).items()}
    plain["roc"] = tuple((float(f), float(t)) for f, t in plain.get("roc", ()))
    return Separation(**plain)


def _pair(values: Any) -> tuple[float, float] | None:
    return None if values is None else (float(values[0]), float(values[1]))
