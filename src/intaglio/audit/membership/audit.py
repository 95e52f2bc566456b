"""A whole audit: questioned pictures, controls and, where labels are known, holdouts, through methods to a verdict.

All pictures go through one call of each method. Their noise depends on their own content alone, so sharing a call, or
a batch, with others changes nothing about any of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from intaglio.audit.membership.family import Authentication, Authenticator, file_stem
from intaglio.audit.membership.verdict import OtherPrompt, Row, Verdict, evaluate, gap_warnings, judge, judge_combined
from intaglio.errors import BadInput
from intaglio.files import atomic_write
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.measures import Similarity
from intaglio.metrics.statistics.roc import Separation
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.plain import to_json
from intaglio.runs.run import Run
from intaglio.runs.tables import rows_csv, without_nan

Role = Literal["questioned", "holdouts", "controls"]
OTHER_PROMPTS = "other-prompts"
"""Kind of the records of verdicts under further prompts."""
ROLES: tuple[Role, ...] = ("questioned", "holdouts", "controls")
OWN = "score"
"""Among the signals of a verdict, the score of the method itself."""
GAPS = {"cgi-dm": "gap_original", "loss-gap": OWN}
"""Where each method tells the gap of the untouched picture."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """The pictures of an audit by role, as one set whose names begin with the role."""

    images: ImageSet
    roles: tuple[Role, ...]

    @classmethod
    def of(cls, questioned: ImageSet, controls: ImageSet, holdouts: ImageSet | None = None) -> "Evidence":
        """Join the sets. Raises `BadInput` where a control is also a questioned picture or a holdout."""
        parts: list[tuple[Role, ImageSet]] = [("questioned", questioned), ("controls", controls)]
        if holdouts is not None:
            parts.insert(1, ("holdouts", holdouts))
        refuse_shared(parts)
        sizes = {tuple(part.pixels.shape[1:]) for _, part in parts}
        if len(sizes) > 1:
            raise BadInput(f"questioned pictures and controls must have one size, not {sorted(sizes)}")
        return cls(
            ImageSet(
                torch.cat([part.pixels for _, part in parts]),
                tuple(f"{role}/{name}" for role, part in parts for name in part.names),
                sum((part.captions for _, part in parts), ()),
                sum((part.repeats for _, part in parts), ()),
                sum((part.hashes for _, part in parts), ()),
            ),
            tuple(role for role, part in parts for _ in range(len(part))),
        )

    def places(self, *roles: Role) -> list[int]:
        """Places of the pictures with one of these roles."""
        return [i for i, role in enumerate(self.roles) if role in roles]

    def name(self, place: int) -> str:
        """The name to show: a questioned picture's own; others keep their role before it."""
        name = self.images.names[place]
        return name.removeprefix("questioned/")


def refuse_shared(parts: Sequence[tuple[Role, ImageSet]]) -> None:
    """Raises `BadInput` naming the pictures that stand in two roles: each must be in one."""
    for i, (role, part) in enumerate(parts):
        for other_role, other in parts[i + 1 :]:
            where = dict(zip(other.hashes, other.names, strict=True))
            if both := [f"{n} = {where[h]}" for n, h in zip(part.names, part.hashes, strict=True) if h in where]:
                raise BadInput(
                    f"the same pictures stand among the {role} and the {other_role} ({', '.join(both)}); a control "
                    "must be a picture that cannot have been in the set, so take them out of one of the two"
                )


def likenesses(questioned: ImageSet, controls: ImageSet, holdouts: ImageSet | None = None) -> list[str]:
    """Warnings of pictures that look the same, within the questioned set and across roles."""
    found = []
    if pairs := questioned.duplicates():
        found.append(f"questioned pictures that look the same count as several: {_pairs(pairs)}")
    others = {"control": controls} | ({} if holdouts is None else {"holdout": holdouts})
    for role, other in others.items():
        if pairs := questioned.duplicates(other):
            found.append(f"a questioned picture and a {role} look the same, which hides membership: {_pairs(pairs)}")
    if pairs := controls.duplicates():
        found.append(f"controls that look the same count as fewer than they are: {_pairs(pairs)}")
    return found


def _pairs(pairs: list[tuple[str, str]]) -> str:
    shown = ", ".join(f"{one} and {two}" for one, two in pairs[:5])
    return shown + (f" and {len(pairs) - 5} more" if len(pairs) > 5 else "")


@dataclass(frozen=True, eq=False)
class Examination:
    """What an audit found."""

    evidence: Evidence
    main: Authentication
    """Of the method that was asked for."""
    signals: dict[str, NDArray[np.float64]]
    """What the verdict rests on, a number for each picture of the evidence."""
    verdict: Verdict
    """Of the questioned pictures."""
    holdouts: tuple[Row, ...]
    """Of the known holdouts, by the same rule."""
    separation: Separation | None
    """Of questioned pictures, taken to be members, and known holdouts; None without holdouts."""
    prompt: str
    other_prompts: tuple[OtherPrompt, ...] = ()

    @property
    def score_name(self) -> str:
        """What the verdict's score is, in words."""
        named = [f"{self.main.method} score" if name == OWN else name for name in self.signals]
        return named[0] if len(named) == 1 else f"combined score of {', '.join(named)}"

    def write(self, run: Run) -> None:
        """Stores the evidence's pictures, a record a picture, `scores.csv` and `verdict.json` in a run's folder."""
        for warning in (*self.main.warnings, *self.verdict.warnings):
            run.warn(warning)
        shown = self._shown(run)
        for entry in shown:
            run.record("picture", entry["name"], entry)
        if run.folder is None:
            return
        columns = ["role", "name", "score", "p_value", "called", "truth", "words"]
        signals = list(shown[0]["signals"])
        table = [{**entry, **entry["signals"]} for entry in shown]
        atomic_write(run.folder / "scores.csv", rows_csv(table, [*columns, *signals]))
        atomic_write(run.folder / "verdict.json", to_json(without_nan(self.to_dict(shown)), indent=1) + "\n")

    def to_dict(self, shown: list[dict[str, Any]]) -> dict[str, Any]:
        """The content of `verdict.json`, as `intaglio.report.kit.run_data` reads it."""
        verdict = self.verdict
        return {
            "method": self.main.method,
            "score": self.score_name,
            "prompt": self.prompt,
            "other_prompts": [asdict(one) for one in self.other_prompts],
            "statement": verdict.statement,
            "no_signal": verdict.no_signal,
            "weights": verdict.weights,
            "questioned": [entry for entry in shown if entry["role"] != "controls"],
            "controls": [entry for entry in shown if entry["role"] == "controls"],
            "threshold": asdict(verdict.threshold),
            "set_test": asdict(verdict.set_test),
            "separation": None if self.separation is None else self.separation.to_dict(),
            "diagnostics": self.main.diagnostics,
        }

    def _shown(self, run: Run) -> list[dict[str, Any]]:
        """One mapping a picture, with the paths of its stored pictures."""
        rows = {"questioned": self.verdict.rows, "holdouts": self.holdouts, "controls": self.verdict.controls}
        return [
            self._entry(run, place, row)
            for role in ROLES
            for place, row in zip(self.evidence.places(role), rows[role], strict=True)
        ]

    def _entry(self, run: Run, place: int, row: Row) -> dict[str, Any]:
        role = self.evidence.roles[place]
        kinds = {"original": self.evidence.images.pixels, **self.main.pictures}
        stem = f"{role}/{place:04d}-{file_stem(row.name.rsplit('/', 1)[-1])}"
        text = {"picture": row.name, "method": self.main.method}
        own = {name: float(values[place]) for name, values in self.main.signals.items()}
        apart = {name: float(values[place]) for name, values in self.signals.items() if name != OWN}
        return {
            "name": row.name,
            "role": role,
            "score": row.score,
            "p_value": None if role == "controls" else row.p_value,
            "called": None if role == "controls" else row.called,
            "truth": self._truth(role),
            "words": "control" if role == "controls" else row.words,
            "signals": {self.main.method: float(self.main.scores[place]), **own, **apart},
            "images": {kind: run.save_image(f"{stem}-{kind}", pixels[place], text) for kind, pixels in kinds.items()},
        }

    def _truth(self, role: Role) -> bool | None:
        if self.separation is None or role == "controls":
            return None
        return role == "questioned"


def examine(
    method: Authenticator,
    suspect: LatentDiffusion,
    base: LatentDiffusion,
    evidence: Evidence,
    *,
    prompt: str,
    fpr: float = 0.05,
    companions: Mapping[str, Authenticator] | None = None,
    signals: Sequence[str] = (OWN,),
    other_prompts: Sequence[str] = (),
    similarity: Similarity | None = None,
    run: Run = Run.none(),
) -> Examination:
    """Score all pictures and judge the questioned ones against the controls.

    Args:
        method: the audit method.
        suspect: the fine-tuned model.
        base: the model it came from.
        evidence: pictures by role; holdouts are judged like questioned pictures, and their truth is known.
        prompt: for both models.
        fpr: the asked false-positive rate, in (0, 1).
        companions: further methods by name, whose scores may be among the signals.
        signals: what the verdict rests on: `score`, the method's own, one of its signals, or a companion's name.
            One alone is judged as it is; several are combined.
        other_prompts: under which the signals are measured again, to see how far the verdict hangs on the words.
        similarity: for methods that use one; None takes SSIM.
        run: progress, states and records.

    Raises:
        BadInput: as `Authenticator`; or a signal that nothing gives.
    """
    companions = dict(companions or {})
    check_signals(method, signals, companions)
    images = evidence.images
    scene = _Scene(method, companions, tuple(dict.fromkeys(signals)), suspect, base, images, similarity)
    results = {method.name: scene.called(method, prompt, run), **scene.companions_called(prompt, run)}
    found = scene.signals_of(results)
    verdict = _judged(evidence, found, "questioned", fpr)
    verdict = _with_gaps(verdict, evidence, results)
    holdouts = _judged(evidence, found, "holdouts", fpr).rows
    known = evaluate([row.score for row in verdict.rows], [row.score for row in holdouts]) if holdouts else None
    main = results[method.name]
    others = []
    for words in dict.fromkeys(other_prompts):
        if words != prompt:
            others.append(_under(words, scene, evidence, verdict, fpr, run))
    return Examination(evidence, main, found, verdict, holdouts, known, prompt, tuple(others))


@dataclass(frozen=True, eq=False)
class _Scene:
    """What the methods of an audit are called with, whatever the prompt."""

    method: Authenticator
    companions: Mapping[str, Authenticator]
    signals: tuple[str, ...]
    suspect: LatentDiffusion
    base: LatentDiffusion
    images: ImageSet
    similarity: Similarity | None

    def called(self, method: Authenticator, prompt: str, run: Run) -> Authentication:
        further = {"similarity": self.similarity} if method.uses_similarity else {}
        return method(self.suspect, self.base, self.images, prompt=prompt, run=run, **further)

    def companions_called(self, prompt: str, run: Run) -> dict[str, Authentication]:
        """Of the companions, those that are among the signals."""
        wanted = {name: one for name, one in self.companions.items() if name in self.signals}
        return {name: self.called(one, prompt, run) for name, one in wanted.items()}

    def signals_of(self, results: Mapping[str, Authentication]) -> dict[str, NDArray[np.float64]]:
        return {name: self._signal(name, results) for name in self.signals}

    def _signal(self, name: str, results: Mapping[str, Authentication]) -> NDArray[np.float64]:
        if name in results and name != self.method.name:
            return results[name].scores.double().numpy()
        main = results[self.method.name]
        values = (main.scores if name == OWN else main.signals[name]).double().numpy()
        # A picture that failed has signals too, but they are those of an unfinished recovery.
        return np.where(np.isnan(main.scores.numpy()), np.nan, values)


def _under(prompt: str, scene: _Scene, evidence: Evidence, verdict: Verdict, fpr: float, run: Run) -> OtherPrompt:
    """The verdict made again under another prompt, recorded as soon as it is known."""
    key = f"prompt {prompt!r}"
    if key in (known := run.recorded(OTHER_PROMPTS)):
        return OtherPrompt(**known[key])
    # Without the run: its records are those of the audit's own prompt.
    alone = Run.none()
    results = scene.companions_called(prompt, alone)
    if len(results) < len(scene.signals):
        results[scene.method.name] = scene.called(scene.method, prompt, alone)
    again = _judged(evidence, scene.signals_of(results), "questioned", fpr)
    both = [(a.called, b.called) for a, b in zip(verdict.rows, again.rows, strict=True)]
    judged = [(a, b) for a, b in both if a is not None and b is not None]
    found = OtherPrompt(prompt, sum(b for _, b in judged), sum(a != b for a, b in judged), len(judged))
    run.record(OTHER_PROMPTS, key, asdict(found))
    return found


def check_signals(method: Authenticator, signals: Sequence[str], companions: Mapping[str, Authenticator]) -> None:
    """Raises `BadInput` for a signal that neither the method nor a companion gives."""
    known = [OWN, *method.signals, *(name for name in companions if name != method.name)]
    if not signals:
        raise BadInput(f"a verdict needs at least one signal; choose from: {', '.join(known)}")
    if unknown := [name for name in signals if name not in known]:
        raise BadInput(f"{method.name} gives no signal {', '.join(unknown)}; choose from: {', '.join(known)}")


def _judged(evidence: Evidence, signals: dict[str, NDArray], role: Role, fpr: float) -> Verdict:
    tested, controls = evidence.places(role), evidence.places("controls")
    names = [evidence.name(i) for i in tested], [evidence.name(i) for i in controls]
    if len(signals) == 1:
        (values,) = signals.values()
        return judge(names[0], values[tested], names[1], values[controls], fpr=fpr)
    mine, theirs = ({name: values[places] for name, values in signals.items()} for places in (tested, controls))
    return judge_combined(names[0], mine, names[1], theirs, fpr=fpr)


def _with_gaps(verdict: Verdict, evidence: Evidence, found: Mapping[str, Authentication]) -> Verdict:
    for name, signal in GAPS.items():
        if name in found:
            result = found[name]
            gaps = (result.scores if signal == OWN else result.signals[signal]).double().numpy()
            warnings, no_signal = gap_warnings(gaps[evidence.places("questioned")], gaps[evidence.places("controls")])
            return replace(verdict, warnings=(*verdict.warnings, *warnings), no_signal=no_signal)
    return verdict
