"""`intaglio bench membership`: every audit's separation, error rate and cost, with the base and without it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from intaglio.audit.membership.family import Authenticator
from intaglio.audit.membership.methods.gsa import GSA
from intaglio.bench.influence.retrained import RetrainedLosses
from intaglio.bench.kit.few_shot_bench import FewShotBench
from intaglio.bench.kit.methods import default_method, default_methods
from intaglio.bench.kit.suspects import CAPTIONED, HARD, PAPER, PROMPT, TUNERS, Regime, Tuner, fine_tuned, joined
from intaglio.bench.membership.figures import ALONE, NULL, figures_of, table_of
from intaglio.bench.membership.halves import HALVES, gradient_audits, gradient_norms, stored_audits
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.fan_out import fan_out, workers_for
from intaglio.runs.progress import Show
from intaglio.runs.run import Run
from intaglio.verbs import VERBS

TUNES, QUICK_TUNES = 9, 5
"""Models tuned anew on halves."""
STORED = "stored losses"
QUICK_SETS, QUICK_PICTURES, QUICK_CONTROLS = 2, 5, 20
REGIMES = (PAPER, HARD, CAPTIONED)
VARIANTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {"pian": ("pia", {"normalise": True})}
"""Further rows: methods with given settings in place of their defaults."""


@dataclass(frozen=True, kw_only=True)
class MembershipBench(FewShotBench):
    """Every membership audit in three regimes: separation, realised error rate, and cost.

    Regime `paper` has the published dose of training under one prompt, `hard` a weak fine-tune and the members'
    nearest relatives to tell them from, `captioned` the published dose with a caption for each picture. A method that
    shows pictures and leaves the verdict to another is left out (see `bench authenticate`); PIAN, `pia --normalise`,
    is a row of its own. Each row has the mean over suspects of the area under the ROC, with a 95% interval from
    resampled pictures; the true-positive rates at 1% and 5%, pooled; the share of suspects with an area above one half,
    since a sign that turns makes a threshold worthless; the shares of members and of pictures outside the set that a
    verdict at 5% calls, calibrated on the set's controls, of which it takes 19, or 39 for a row whose both sides count
    (there are 20 with --quick, so that such a row has no verdict); rows asked of a denoiser and seconds a picture.
    Areas and true-positive rates are of the score taken upwards, whatever the row. `null` asks each suspect of `paper`
    about another set: all calls are wrong there. `halves` has models tuned on halves of forty captioned pictures, each
    once the suspect and others its shadows, for methods that need those: `lira` and `lira-online` by losses that ship
    with the testbed, 16 shadows each, beside `loss-gap` by the same; `gsa` and the norm of the whole gradient
    (`gradient-norm`) by nine models that are tuned anew, which --quick leaves out unless `gsa` is named, and then has
    five. Verdicts there are calibrated on pictures that no model was tuned on.
    """

    quick: bool = False
    """Two sets, half the pictures and 20 controls each; minutes in place of hours."""
    sets: tuple[str, ...] = ()
    """Few-shot sets to use, two or more; none takes all (or two with --quick)."""
    rows: tuple[str, ...] = ()
    """Methods to measure, `pian` among them; none takes all."""
    seed: int = 0
    """Of the fine-tunes and the audits."""

    def __post_init__(self) -> None:
        super().__post_init__()
        known = (*VERBS["authenticate"].methods, *VARIANTS)
        if unknown := [name for name in self.rows if name not in known]:
            raise ValueError(f"rows has no method {unknown[0]!r}; choose from: {', '.join(known)}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; the figures by name, and beside them the table of every row and regime under `rows`."""
        settings = {
            "sets": self._sets(),
            "quick": self.quick,
            "regimes": {regime.name: asdict(regime) for regime in REGIMES},
            "methods": {name: asdict(method) for name, method in self._methods().items()},
            "rows": self.rows,
        }
        about: dict[str, Any] = {"seed": self.seed, "device": self.device, "command": command, "progress": progress}
        run = Run.open(self.runs, "bench", "membership", settings, self.inputs(), **about)
        with run:
            if run.status != "done":
                self._measure(run)
                run.finish(figures_of(run))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        return table_of(figures)

    def _sets(self) -> tuple[str, ...]:
        known = testbed.sets()
        if unknown := [name for name in self.sets if name not in known]:
            raise BadInput(f"there is no few-shot set called {unknown[0]!r}; choose from: {', '.join(known)}")
        asked = tuple(dict.fromkeys(self.sets))
        if len(asked) == 1:
            raise BadInput("suspects that never saw the pictures are those of another set; name two sets or more")
        return asked or (known[:: -(-len(known) // QUICK_SETS)] if self.quick else known)

    def _methods(self) -> dict[str, Authenticator]:
        """The audits by row: each method with its defaults, and the variants."""
        every = default_methods("authenticate", seed=self.seed)
        found = {name: one for name, one in every.items() if one.judges and not one.needs_shadows}
        for row, (name, settings) in VARIANTS.items():
            found[row] = default_method("authenticate", name, seed=self.seed, **settings)
        shadowed = [name for name, one in every.items() if one.needs_shadows]
        if without := [name for name in self.rows if name not in (*found, *shadowed)]:
            raise BadInput(f"{without[0]} leaves its verdict to another method; see `intaglio bench authenticate`")
        return {name: one for name, one in found.items() if name in (self.rows or found)}

    def _jobs(self) -> list["_Suspect"]:
        """A suspect for each set and regime, by DreamBooth and by LoRA in turns."""
        sets = self._sets() if self._methods() else ()
        return [
            _Suspect(
                regime,
                TUNERS[(place + turn) % len(TUNERS)],
                name,
                sets[(place + 1) % len(sets)] if regime is PAPER else None,
            )
            for place, name in enumerate(sets)
            for turn, regime in enumerate(REGIMES)
        ]

    def _measure(self, run: Run) -> None:
        jobs = self._jobs()
        left = [job for job in jobs if job.key not in run.recorded("suspect")]
        workers = self.workers or workers_for(self.device)
        with run.progress(len(jobs), "suspects", len(jobs) - len(left)) as progress:
            for job, found in fan_out(self._audited, left, workers):
                run.record("suspect", job.key, {"audits": found})
                progress.advance()
        self._measure_halves(run, workers)

    def _tunes(self) -> int:
        """Models that are tuned anew on halves, for rows of gradients; none but on the embedded base."""
        if self.model is not None or (self.rows and "gsa" not in self.rows):
            return 0
        if self.quick:
            return QUICK_TUNES if self.rows else 0
        return TUNES

    def _measure_halves(self, run: Run, workers: int) -> None:
        """The audits of models tuned on halves, by stored losses and by gradients."""
        if self.model is None and (not self.rows or "lira" in self.rows) and STORED not in run.recorded(HALVES):
            run.record(HALVES, STORED, {"audits": stored_audits(RetrainedLosses.shipped(), self.base)})
        count = self._tunes()
        left = [place for place in range(count) if str(place) not in run.recorded("gradient norms")]
        with run.progress(count, "models on halves", count - len(left)) as progress:
            for place, norms in fan_out(self._gradient_norms, left, workers):
                run.record("gradient norms", str(place), norms)
                progress.advance()
        if count:
            norms = run.recorded("gradient norms")
            every = [norms[str(place)] for place in range(count)]
            run.record(HALVES, "gradients", {"audits": gradient_audits(every, self._gsa.levels)})

    @property
    def _gsa(self) -> GSA:
        return GSA(seed=self.seed)

    def _gradient_norms(self, place: int) -> dict[str, list[float]]:
        return gradient_norms(self.base, self._gsa, place)

    def _audited(self, job: "_Suspect") -> list[dict[str, Any]]:
        """Every method's scores of the suspect's own set, and in `paper` of another, with what they cost."""
        base = self.base
        suspect = fine_tuned(base, job.regime, job.kind, job.subject, self.seed)
        return [
            found
            for condition, subject in job.asked
            for name, method in self._methods().items()
            if (found := self._scored(name, method, suspect, base, job, condition, subject)) is not None
        ]

    def _scored(
        self,
        name: str,
        method: Authenticator,
        suspect: LatentDiffusion,
        base: LatentDiffusion,
        job: "_Suspect",
        condition: str,
        subject: str,
    ) -> dict[str, Any] | None:
        """One method's scores of a set; None where it takes no captions and they are the prompts, or needs them and one
        prompt is for all.
        """
        if method.own_captions == ("refused" if job.regime.captioned else "needed"):
            return None
        everyone, counts = self._pictures(job.regime, subject)
        words: dict[str, Any] = {"own_captions": True} if job.regime.captioned else {"prompt": PROMPT}
        began = time.monotonic()
        result = method(suspect, base, everyone, **words)
        seconds = (time.monotonic() - began) / len(everyone)
        signals = {"": result.scores, **({ALONE: result.signals["suspect"]} if "suspect" in result.signals else {})}
        calls = sum(kind.rows for kind in method.calls(len(everyone), 2)) / len(everyone)
        return {
            "condition": condition,
            "method": name,
            "role": method.role,
            "sides": method.sides,
            "set": subject,
            "seconds": seconds,
            "calls": calls,
            "scores": {row: [part.tolist() for part in scores.split(counts)] for row, scores in signals.items()},
        }

    def _pictures(self, regime: Regime, subject: str) -> tuple[ImageSet, list[int]]:
        """Members, pictures to tell them from and controls of a set, and the counts of the three."""
        few = (QUICK_PICTURES, QUICK_PICTURES, QUICK_CONTROLS) if self.quick else (None, None, None)
        every = (*regime.questioned(subject), testbed.few_shot(subject).controls)
        parts = [part[:count] for part, count in zip(every, few, strict=True)]
        return joined(parts), [len(part) for part in parts]


@dataclass(frozen=True)
class _Suspect:
    """One fine-tune."""

    regime: Regime
    kind: Tuner
    subject: str
    other: str | None
    """Another set, which it never saw and is asked about too; None for none."""

    @property
    def key(self) -> str:
        return f"{self.regime.name}/{self.kind}/{self.subject}"

    @property
    def asked(self) -> list[tuple[str, str]]:
        """(condition, set) that it is asked about."""
        own = [(self.regime.name, self.subject)]
        return own if self.other is None else [*own, (NULL, self.other)]
