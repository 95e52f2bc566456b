"""`intaglio bench authenticate`: every audit method on the same suspects, in two regimes, beside the published one."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from torch import Tensor

from intaglio.audit.membership.family import Authentication, Authenticator
from intaglio.audit.membership.methods.cgi_dm import CGIDM
from intaglio.bench.authenticate.figures import figures_of
from intaglio.bench.kit.few_shot_bench import FewShotBench
from intaglio.bench.kit.methods import one_prompt_audits
from intaglio.bench.kit.suspects import HARD, PAPER, PROMPT, TUNERS, Regime, Tuner, fine_tuned, joined
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.measures import load_similarity
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.fan_out import fan_out, workers_for
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

QUICK_SETS, QUICK_PICTURES = 3, 5
REFERENCE_PICTURES = 3


@dataclass(frozen=True, kw_only=True)
class AuthenticateBench(FewShotBench):
    """Every membership audit on the same suspects: the base, fine-tuned on each few-shot set.

    Regime `paper` has the published dose of training and holdouts drawn like the members; regime `hard` a weak
    fine-tune on more pictures, and the members' nearest relatives to tell them from. `auc` figures are means over
    audits of the area within each audit, with 95% intervals from resampled pictures. The published procedure of
    CGI-DM runs beside the default one on the same suspect and pictures, and both are timed there.
    """

    quick: bool = False
    """Three sets by turns, half the pictures, and the published procedure on two of them; minutes in place of hours."""
    by_turns: bool = False
    """DreamBooth and LoRA by turns, in place of both on every set; a set gets the one in one regime and the other in
    the other. Half the time."""
    sets: tuple[str, ...] = ()
    """Few-shot sets to use; none takes all (or three with --quick)."""
    reference_pictures: int | None = None
    """Members, and as many holdouts, that the published procedure is run on; none takes 3 (1 with --quick)."""
    seed: int = 0
    """Of the fine-tunes and the audits."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reference_pictures is not None and not 1 <= self.reference_pictures <= 10:
            raise ValueError(f"reference_pictures must lie in 1..10, not {self.reference_pictures}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; the figures by name, and beside them the table of every method and set under `by_audit`."""
        sets = self._sets()
        settings = {
            "sets": sets,
            "quick": self.quick,
            "by_turns": self.by_turns,
            "reference_pictures": self._reference_pictures(),
            "regimes": _regimes(),
            "methods": {name: asdict(method) for name, method in self._methods().items()},
        }
        inputs = self.inputs()
        run = Run.open(
            self.runs,
            "bench",
            "authenticate",
            settings,
            inputs,
            seed=self.seed,
            device=self.device,
            command=command,
            progress=progress,
        )
        with run:
            if run.status != "done":
                self._measure(run)
                run.finish(figures_of(run, self._methods()))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The figures as a table."""
        return "\n".join(
            f"{name:>28}  {_shown(value)}" for name, value in figures.items() if not isinstance(value, dict)
        )

    def _sets(self) -> tuple[str, ...]:
        known = testbed.sets()
        if unknown := [name for name in self.sets if name not in known]:
            raise BadInput(f"there is no few-shot set called {unknown[0]!r}; choose from: {', '.join(known)}")
        return self.sets or (known[:: -(-len(known) // QUICK_SETS)] if self.quick else known)

    def _methods(self) -> dict[str, Authenticator]:
        return one_prompt_audits(seed=self.seed)

    def _reference_pictures(self) -> int:
        return self.reference_pictures or (1 if self.quick else REFERENCE_PICTURES)

    def _jobs(self) -> list["_Job"]:
        """Every audit, set by set, led by the comparison with the published procedure, which takes longest."""
        audits = [
            _Job("audit", regime, kind, name)
            for place, name in enumerate(self._sets())
            for turn, regime in enumerate((PAPER, HARD))
            for kind in ((TUNERS[(turn + place) % len(TUNERS)],) if self.quick or self.by_turns else TUNERS)
        ]
        return [replace(audits[0], part="reference"), *audits]

    def _measure(self, run: Run) -> None:
        jobs = self._jobs()
        left = [job for job in jobs if job.key not in run.recorded(job.part)]
        workers = self.workers or workers_for(self.device)
        with run.progress(len(jobs), "audits", len(jobs) - len(left)) as progress:
            for job, found in fan_out(self._done, left, workers):
                run.record(job.part, job.key, found)
                progress.advance()

    def _done(self, job: "_Job") -> dict[str, Any]:
        base = self.base
        suspect = fine_tuned(base, job.regime, job.kind, job.subject, self.seed)
        return (self._audited if job.part == "audit" else self._beside_reference)(suspect, base, job)

    def _audited(self, suspect: LatentDiffusion, base: LatentDiffusion, job: "_Job") -> dict[str, Any]:
        """Every method's signals of members and holdouts, and the seconds each took."""
        pictures = QUICK_PICTURES if self.quick else None
        members, holdouts = (part[:pictures] for part in job.regime.questioned(job.subject))
        everyone, count = joined([members, holdouts]), len(members)
        found: dict[str, Any] = {
            "regime": job.regime.name,
            "tuner": job.kind,
            "set": job.subject,
            "seconds": {},
            "signals": {},
        }
        for name, method in self._methods().items():
            began = time.monotonic()
            result = method(suspect, base, everyone, prompt=PROMPT)
            found["seconds"][name] = time.monotonic() - began
            signals = {"score": result.scores, **result.signals, **_by_encoder(result, everyone, self.device)}
            found["signals"][name] = {k: [v[:count].tolist(), v[count:].tolist()] for k, v in signals.items()}
        return found

    def _beside_reference(self, suspect: LatentDiffusion, base: LatentDiffusion, job: "_Job") -> dict[str, Any]:
        """The published procedure between two calls of the default one, on the same pictures."""
        members, holdouts = job.regime.questioned(job.subject)
        count = self._reference_pictures()
        few = joined([members[:count], holdouts[:count]])
        found: dict[str, Any] = {"pictures": len(few), "default_seconds": []}
        ours, published = CGIDM(seed=self.seed), CGIDM.reference(seed=self.seed)
        for label, method in (("default", ours), ("reference", published), ("default", ours)):
            began = time.monotonic()
            result = method(suspect, base, few, prompt=PROMPT)
            seconds = time.monotonic() - began
            signals = {"score": result.scores, **result.signals, **_by_encoder(result, few, self.device)}
            split = {name: [v[:count].tolist(), v[count:].tolist()] for name, v in signals.items()}
            found[label] = {"seconds": seconds, "signals": split}
            if label == "default":
                found["default_seconds"].append(seconds)
        return found


@dataclass(frozen=True)
class _Job:
    """One suspect and what is done with it."""

    part: Literal["audit", "reference"]
    regime: Regime
    kind: Tuner
    subject: str

    @property
    def key(self) -> str:
        return f"{self.regime.name}/{self.kind}/{self.subject}"


def _by_encoder(result: Authentication, originals: ImageSet, device: str) -> dict[str, Tensor]:
    """The similarity of each recovery by the embedded encoder too, beside the method's own measure."""
    if "recovered" not in result.pictures:
        return {}
    encoder = load_similarity("embedded", device)
    end, start = (encoder(originals.pixels, result.pictures[kind]) for kind in ("recovered", "partial"))
    return {"encoder similarity": end, "encoder gain": end - start}


def _regimes() -> dict[str, Any]:
    return {regime.name: asdict(regime) for regime in (PAPER, HARD)}


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
