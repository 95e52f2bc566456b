"""A whole membership audit: pictures by role, through methods, to a verdict calibrated by the controls."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intaglio.audit.membership.agreement import agreement
from intaglio.audit.membership.family import (
    OWN_SCORE,
    AuditInputs,
    Authentication,
    Authenticator,
    check_shadows,
    file_stem,
)
from intaglio.audit.membership.pictures import AuditPictures
from intaglio.audit.membership.result import ORIGINAL, AuditResult, JudgedPicture, Role
from intaglio.audit.membership.verdict import OtherPrompt, PictureVerdict, Verdict, judge, judge_combined, separation_of
from intaglio.errors import BadInput
from intaglio.metrics.similarity.measures import check_descriptors
from intaglio.metrics.statistics.enough_controls import Sides
from intaglio.runs.run import Run

STANDARD = "update-alignment"
"""The method whose score a verdict rests on where the method asked for shows pictures but does not judge: the one that
separates best in `intaglio bench authenticate`, regime hard."""
OTHER_PROMPTS = "other-prompts"
"""Kind of the records of verdicts under further prompts."""
NO_COMPANIONS: Mapping[str, Authenticator] = MappingProxyType({})


def verdict_signals(method: Authenticator, asked: Sequence[str] = ()) -> tuple[str, ...]:
    """The signals that a verdict rests on: those asked for, or the method's own score, or the standard one."""
    default = OWN_SCORE if method.judges else STANDARD
    return tuple(dict.fromkeys(OWN_SCORE if name == method.name else name for name in asked or (default,)))


def check_signals(method: Authenticator, signals: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    """The signals that are other methods' scores, of which `others` are the names.

    Raises `BadInput` for a signal that neither the method nor another gives, and for none at all.
    """
    known = [OWN_SCORE, *method.signals, *(name for name in others if name != method.name)]
    if not signals:
        raise BadInput(f"a verdict needs at least one signal; choose from: {', '.join(known)}")
    if unknown := [name for name in signals if name not in known]:
        raise BadInput(f"{method.name} gives no signal {', '.join(unknown)}; choose from: {', '.join(known)}")
    return tuple(name for name in signals if name not in (OWN_SCORE, *method.signals))


def run_audit(
    method: Authenticator,
    inputs: AuditInputs,
    pictures: AuditPictures,
    *,
    fpr: float = 0.05,
    signals: Sequence[str] = (OWN_SCORE,),
    companions: Mapping[str, Authenticator] = NO_COMPANIONS,
    other_prompts: Sequence[str] = (),
    run: Run = Run.none(),
) -> AuditResult:
    """Score all pictures and judge the questioned ones against the controls.

    Args:
        method: the method asked for.
        inputs: the models, the prompt, and a similarity for methods that use one.
        pictures: by role; holdouts are judged like questioned pictures, and their truth is known.
        fpr: the asked false-positive rate, in (0, 1).
        signals: what the verdict rests on: `score`, the method's own, one of its signals, or a companion's name.
            One alone is judged as it is; several are combined.
        companions: further methods by name, whose scores are among the signals.
        other_prompts: under which the signals are measured again, to see how far the verdict hangs on the words.
        run: progress, states, records and the pictures' files.

    Raises:
        BadInput: as `Authenticator`; or a signal that nothing gives.
    """
    check_signals(method, signals, tuple(companions))
    alike = check_pool((method, *companions.values()), inputs, pictures)
    if inputs.similarity is not None and any(one.uses_similarity for one in (method, *companions.values())):
        check_descriptors(inputs.similarity, pictures.images.pixels, _shown_names(pictures))
    calls = _Calls(method, companions, tuple(dict.fromkeys(signals)), inputs, pictures)
    results = calls.results(None, run)
    values = calls.values(results)
    verdict = _with_loss_differences(calls.judged(values, "questioned", fpr), calls, results)
    holdouts = calls.judged(values, "holdouts", fpr).rows
    known = separation_of(*map(verdict.evidence, (verdict.rows, holdouts))) if holdouts else None
    others = [
        _under_prompt(prompt, calls, verdict, fpr, run)
        for prompt in dict.fromkeys(other_prompts)
        if inputs.own_captions or prompt != inputs.prompt
    ]
    main = results[method.name]
    further = {name: numbers for name, numbers in values.items() if name != OWN_SCORE}
    stored = _Stored(run, pictures, main, further, truth_known=known is not None)
    questioned = (*stored.write_role("questioned", verdict.rows), *stored.write_role("holdouts", holdouts))
    return AuditResult(
        method=method.name,
        score_name=_score_name(calls),
        prompt=inputs.prompt,
        own_captions=inputs.own_captions,
        questioned=questioned,
        controls=stored.write_role("controls", verdict.controls),
        threshold=verdict.threshold,
        set_test=verdict.set_test,
        separation=known,
        statement=verdict.statement,
        no_signal=verdict.no_signal,
        weights=verdict.weights,
        readings=calls.readings(),
        two_sided=tuple(calls.shown_name(name) for name in calls.two_sided),
        captions=dict(method.captions),
        story=method.story,
        limits=dict(method.limits),
        other_prompts=tuple(others),
        diagnostics=main.diagnostics,
        warnings=(*alike, *main.warnings, *verdict.warnings),
    )


def check_pool(methods: Iterable[Authenticator], inputs: AuditInputs, pictures: AuditPictures) -> tuple[str, ...]:
    """Warnings of pictures that were not alike to the shadows of an audit; none where no method needs shadows.

    Raises `BadInput` where the shadows do not serve a method, or were tuned on no control and it needs that.
    """
    found = dict.fromkeys(())
    for method in (one for one in methods if one.needs_shadows):
        check_shadows(method, inputs.shadows, pictures.images)
        if inputs.shadows is not None:
            about = inputs.shadows.check_pool(method.name, pictures, drawn_controls=method.drawn_controls)
            found |= dict.fromkeys(about)
    return tuple(found)


@dataclass(frozen=True, eq=False)
class _Calls:
    """The methods of an audit and what they are called with, whatever the prompt."""

    method: Authenticator
    companions: Mapping[str, Authenticator]
    signals: tuple[str, ...]
    inputs: AuditInputs
    pictures: AuditPictures

    def results(self, prompt: str | None, run: Run, *, only_needed: bool = False) -> dict[str, Authentication]:
        """By name, the results of the method and of those companions that are among the signals.

        None for `prompt` takes the audit's own prompt, or the pictures' captions. With `only_needed` the method itself
        is left out where the signals are all of companions.
        """
        wanted = {name: one for name, one in self.companions.items() if name in self.signals}
        if not only_needed or len(wanted) < len(self.signals):
            wanted = {self.method.name: self.method} | wanted
        return {name: self._called(one, prompt, run) for name, one in wanted.items()}

    def _called(self, method: Authenticator, prompt: str | None, run: Run) -> Authentication:
        inputs, images = self.inputs, self.pictures.images
        similarity = inputs.similarity if method.uses_similarity else None
        own = inputs.own_captions and prompt is None
        about: dict[str, Any] = {"prompt": inputs.prompt if prompt is None else prompt, "own_captions": own}
        shadows = inputs.shadows if method.needs_shadows else None
        return method(inputs.suspect, inputs.base, images, **about, similarity=similarity, shadows=shadows, run=run)

    def values(self, results: Mapping[str, Authentication]) -> dict[str, NDArray[np.float64]]:
        """The signals that the verdict rests on, by name: a number for each picture [n]."""
        return {name: self._signal(name, results) for name in self.signals}

    def _signal(self, name: str, results: Mapping[str, Authentication]) -> NDArray[np.float64]:
        if name in results and name != self.method.name:
            return _finite(results[name].scores.double().numpy())
        main = results[self.method.name]
        # A picture that failed has signals too, but they are those of an unfinished recovery.
        return np.where(np.isfinite(main.scores.numpy()), _finite(main.signal(name).double().numpy()), np.nan)

    def shown_name(self, signal: str) -> str:
        """A signal's name beside those of other methods."""
        return f"{self.method.name} score" if signal == OWN_SCORE else signal

    def readings(self) -> dict[str, str]:
        """The readings of those signals that are scores of methods, by shown name."""
        methods = {OWN_SCORE: self.method, **self.companions}
        return {self.shown_name(name): methods[name].reading for name in self.signals if name in methods}

    @property
    def two_sided(self) -> tuple[str, ...]:
        """Those of the signals that count to both sides of the controls'."""
        sides: dict[str, Sides] = {name: one.sides for name, one in self.companions.items()}
        return tuple(name for name in self.signals if sides.get(name, self.method.sides) == "both")

    def judged(self, signals: Mapping[str, NDArray], role: Role, fpr: float) -> Verdict:
        """The verdict on the pictures of a role, from one signal as it is or from several combined."""
        pictures = self.pictures
        tested, controls = pictures.of_role(role), pictures.of_role("controls")
        names = [pictures.shown_name(i) for i in tested], [pictures.shown_name(i) for i in controls]
        if len(signals) == 1:
            (values,) = signals.values()
            sides: Sides = "both" if self.two_sided else "upper"
            return judge(names[0], values[tested], names[1], values[controls], fpr=fpr, sides=sides)
        mine, theirs = ({name: values[indices] for name, values in signals.items()} for indices in (tested, controls))
        return judge_combined(names[0], mine, names[1], theirs, fpr=fpr, folded=self.two_sided)

    def loss_differences(self, results: Mapping[str, Authentication]) -> NDArray[np.float64] | None:
        """The base's denoising loss less the suspect's for each picture [n]; None where no method gives it."""
        for name, found in results.items():
            method = self.method if name == self.method.name else self.companions[name]
            if method.loss_difference is not None:
                return found.signal(method.loss_difference).double().numpy()
        return None


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores, with NaN for an infinite one: it is no score either."""
    return np.where(np.isfinite(values), values, np.nan)


def _shown_names(pictures: AuditPictures) -> list[str]:
    return [pictures.shown_name(index) for index in range(len(pictures.images))]


def _score_name(calls: _Calls) -> str:
    """The name of the verdict's score."""
    named = [calls.shown_name(name) for name in calls.signals]
    return named[0] if len(named) == 1 else f"combined score of {', '.join(named)}"


def _under_prompt(prompt: str, calls: _Calls, verdict: Verdict, fpr: float, run: Run) -> OtherPrompt:
    """The verdict made again under another prompt, recorded as soon as it is known."""
    key = f"prompt {prompt!r}"
    if key in (known := run.recorded(OTHER_PROMPTS)):
        return OtherPrompt(**known[key])
    # Without the run: its records are those of the audit's own prompt.
    results = calls.results(prompt, Run.none(), only_needed=True)
    again = calls.judged(calls.values(results), "questioned", fpr)
    both = [(a.called, b.called) for a, b in zip(verdict.rows, again.rows, strict=True)]
    judged = [(a, b) for a, b in both if a is not None and b is not None]
    found = OtherPrompt(prompt, sum(b for _, b in judged), sum(a != b for a, b in judged), len(judged))
    run.record(OTHER_PROMPTS, key, asdict(found))
    return found


def _with_loss_differences(verdict: Verdict, calls: _Calls, results: Mapping[str, Authentication]) -> Verdict:
    """The verdict with what the loss differences say of the models."""
    values = calls.loss_differences(results)
    if values is None:
        return verdict
    pictures = calls.pictures
    tested, controls = values[pictures.of_role("questioned")], values[pictures.of_role("controls")]
    found = agreement(verdict, tested, controls)
    return replace(verdict, warnings=(*verdict.warnings, *found.warnings), no_signal=found.no_signal)


@dataclass(frozen=True, eq=False)
class _Stored:
    """Writes each picture of an audit, with a record of its verdict, as it becomes a part of the result."""

    run: Run
    pictures: AuditPictures
    main: Authentication
    further: Mapping[str, NDArray[np.float64]]
    """Signals of the verdict beside the method's own score."""
    truth_known: bool

    def write_role(self, role: Role, rows: Sequence[PictureVerdict]) -> tuple[JudgedPicture, ...]:
        """The pictures of a role, whose verdicts are `rows` in their order."""
        return tuple(self._judged(i, row) for i, row in zip(self.pictures.of_role(role), rows, strict=True))

    def _judged(self, index: int, row: PictureVerdict) -> JudgedPicture:
        role, name = self.pictures.roles[index], self.pictures.names[index]
        control = role == "controls"
        own = {key: float(values[index]) for key, values in self.main.signals.items()}
        further = {key: float(values[index]) for key, values in self.further.items()}
        found = JudgedPicture(
            name=name,
            role=role,
            score=row.score,
            p_value=None if control else row.p_value,
            called=None if control else row.called,
            truth=role == "questioned" if self.truth_known and not control else None,
            words="control" if control else row.words,
            signals={self.main.method: float(self.main.scores[index]), **own, **further},
            images=self._images(index),
        )
        self.run.record("picture", row.name, found.to_dict())
        return found

    def _images(self, index: int) -> dict[str, str]:
        stem = f"{self.pictures.roles[index]}/{index:04d}-{file_stem(self.pictures.names[index].rsplit('/', 1)[-1])}"
        text = {"picture": self.pictures.shown_name(index), "method": self.main.method}
        kinds = {ORIGINAL: self.pictures.images.pixels, **self.main.pictures}
        return {kind: self.run.save_image(f"{stem}-{kind}", pixels[index], text) for kind, pixels in kinds.items()}
