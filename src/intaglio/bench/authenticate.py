"""`intaglio bench authenticate`: every audit method on the same suspects, in two regimes, beside the published one."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from intaglio.audit.cgi_dm import CGIDM
from intaglio.audit.combination import combine
from intaglio.audit.loss_gap import LossGap
from intaglio.audit.pia import PIA
from intaglio.bench.pooling import Audit, margin, mean_auc, pooled_tpr
from intaglio.bench.suspects import HARD, PAPER, PROMPT, TUNERS, Regime, Tuner, fine_tuned, joined
from intaglio.errors import BadInput
from intaglio.metrics.roc import auc
from intaglio.models import testbed
from intaglio.models.diffusion import LatentDiffusion
from intaglio.models.loading import load_model
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

QUICK_SETS, QUICK_CONTROLS = 3, 20
COMBINED = (("cgi-dm", "score"), ("loss-gap", "score"))
"""(method, signal) of the verdict's score: what `intaglio authenticate cgi-dm` combines by default."""


@dataclass(frozen=True)
class AuthenticateBench:
    """Fine-tune the embedded base on each few-shot set, then ask every method which pictures were in it.

    Regime `paper` has the published dose of training and holdouts drawn like the members; regime `hard` a weak
    fine-tune on more pictures, and the members' nearest relatives to tell them from. `auc` figures are means over
    audits of the area within each audit, with 95% intervals from resampled pictures. The published procedure of
    CGI-DM runs beside the default one on the same suspect and pictures, and both are timed there.
    """

    quick: bool = False
    """Three sets, half the controls, and few pictures for the published procedure; minutes in place of hours."""
    sets: tuple[str, ...] = ()
    """Few-shot sets to use; none takes all (or three with --quick)."""
    reference_pictures: int | None = None
    """Members, and as many holdouts, that the published procedure is run on; none takes 10 (1 with --quick)."""
    seed: int = 0
    """Of the fine-tunes and the audits."""
    device: str = "cpu"
    """Where to compute, such as cpu or cuda."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""
    model: Path | None = None
    """The base; none takes the embedded testbed, which the few-shot sets were made for."""

    def __post_init__(self) -> None:
        if self.reference_pictures is not None and not 1 <= self.reference_pictures <= 10:
            raise ValueError(f"reference_pictures must lie in 1..10, not {self.reference_pictures}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; the figures by name, and beside them the table of every method and set under `audits`."""
        base = load_model(self.model or testbed.base_path(), device=self.device)
        settings = {
            "sets": self._sets(), "quick": self.quick, "reference_pictures": self._reference_pictures(),
            "regimes": _regimes(),
            "methods": {name: asdict(method) for name, method in self._methods().items()},
        }  # fmt: skip
        inputs = {"model": {"path": str(self.model or "testbed"), "sha256": base.fingerprint}}
        run = Run.open(
            self.runs, "bench", "authenticate", settings, inputs, seed=self.seed, device=self.device,
            command=command, progress=progress,
        )  # fmt: skip
        with run:
            if run.status != "done":
                self._measure(base, run)
                run.finish(_figures(run))
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

    def _methods(self) -> dict[str, CGIDM | LossGap | PIA]:
        return {"cgi-dm": CGIDM(seed=self.seed), "loss-gap": LossGap(seed=self.seed), "pia": PIA()}

    def _reference_pictures(self) -> int:
        return self.reference_pictures or (1 if self.quick else 10)

    def _measure(self, base: LatentDiffusion, run: Run) -> None:
        jobs: list[tuple[Regime, Tuner, str]] = [
            (regime, kind, name) for regime in (PAPER, HARD) for name in self._sets() for kind in TUNERS
        ]
        done = run.recorded("audit")
        with run.progress(len(jobs), "audits", 0) as progress:
            for regime, kind, name in jobs:
                key = f"{regime.name}/{kind}/{name}"
                first = (regime, kind, name) == jobs[0]
                if key not in done or (first and not run.recorded("reference")):
                    suspect = fine_tuned(base, regime, kind, name, self.seed)
                    run.record("audit", key, self._audited(suspect, base, regime, kind, name))
                    if first:
                        run.record("reference", key, self._beside_reference(suspect, base, regime, name))
                progress.advance()

    def _audited(
        self, suspect: LatentDiffusion, base: LatentDiffusion, regime: Regime, kind: Tuner, subject: str
    ) -> dict[str, Any]:
        """Every method's signals of members, holdouts and controls, and the seconds each took."""
        members, holdouts = regime.questioned(subject)
        controls = testbed.few_shot(subject).controls[: QUICK_CONTROLS if self.quick else None]
        everyone = joined([members, holdouts, controls])
        cuts = np.cumsum([len(members), len(holdouts)])
        found: dict[str, Any] = {"regime": regime.name, "tuner": kind, "set": subject, "seconds": {}, "signals": {}}
        for name, method in self._methods().items():
            began = time.monotonic()
            result = method(suspect, base, everyone, prompt=PROMPT)
            found["seconds"][name] = time.monotonic() - began
            signals = {"score": result.scores, **result.signals}
            split = {k: [part.tolist() for part in np.split(v.numpy(), cuts)] for k, v in signals.items()}
            found["signals"][name] = split
        return found

    def _beside_reference(
        self, suspect: LatentDiffusion, base: LatentDiffusion, regime: Regime, name: str
    ) -> dict[str, Any]:
        """The published procedure and the default on the same pictures, one after the other."""
        members, holdouts = regime.questioned(name)
        count = self._reference_pictures()
        few = joined([members[:count], holdouts[:count]])
        found: dict[str, Any] = {"pictures": len(few)}
        for label, method in (("default", CGIDM(seed=self.seed)), ("reference", CGIDM.reference(seed=self.seed))):
            began = time.monotonic()
            scores = method(suspect, base, few, prompt=PROMPT).scores.tolist()
            found[label] = {"seconds": time.monotonic() - began, "scores": [scores[:count], scores[count:]]}
        return found


def _regimes() -> dict[str, Any]:
    return {regime.name: asdict(regime) for regime in (PAPER, HARD)}


def _figures(run: Run) -> dict[str, Any]:
    """The headline figures, then the mean area of every method and regime, then every audit's areas."""
    found = [run.recorded("audit")[key] for key in sorted(run.recorded("audit"))]
    paper, hard = ([a for a in found if a["regime"] == regime.name] for regime in (PAPER, HARD))
    (reference,) = run.recorded("reference").values()
    ours = mean_auc(_scores(paper, "cgi-dm"))
    baselines = {name: mean_auc(_scores(hard, name)) for name in BASELINES}
    best = max(baselines, key=lambda name: baselines[name].value)
    verdict = mean_auc(_scores(hard, VERDICT))
    lead = margin(_scores(hard, VERDICT), _scores(hard, best))
    default, published = reference["default"], reference["reference"]
    return {
        "auc": ours.value, "auc_low": ours.low, "auc_high": ours.high,
        "tpr_at_1pct_fpr": pooled_tpr(_scores(paper, "cgi-dm"), 0.01),
        "auc_reference": auc(*published["scores"]), "auc_default_beside_reference": auc(*default["scores"]),
        "speedup_vs_reference": published["seconds"] / default["seconds"], "reference_pictures": reference["pictures"],
        "auc_hard": verdict.value, "auc_hard_low": verdict.low, "auc_hard_high": verdict.high,
        "auc_cgi_dm_hard": mean_auc(_scores(hard, "cgi-dm")).value,
        "auc_best_baseline_hard": baselines[best].value, "best_baseline_hard": best,
        "auc_hard_margin": lead.value, "auc_hard_margin_low": lead.low, "auc_hard_margin_high": lead.high,
        "audits": len(found), "seconds": run.seconds, "machine": machine(), "versions": versions(),
        "areas": {
            regime.name: {name: asdict(mean_auc(_scores(part, name))) for name in SCORES}
            for regime, part in ((PAPER, paper), (HARD, hard))
        },
        "by_audit": {
            f"{a['regime']}/{a['tuner']}/{a['set']}": {name: mean_auc(_scores([a], name)).value for name in SCORES}
            for a in found
        },
    }  # fmt: skip


VERDICT = "verdict"
SCORES: dict[str, tuple[str, str]] = {
    "cgi-dm": ("cgi-dm", "score"),
    "cgi-dm similarity": ("cgi-dm", "similarity"),
    "cgi-dm refilled": ("cgi-dm", "refilled"),
    "cgi-dm gap": ("cgi-dm", "gap_final"),
    "loss-gap": ("loss-gap", "score"),
    "loss-gap relative": ("loss-gap", "relative"),
    "pia": ("pia", "score"),
    VERDICT: ("", ""),
}
"""Name in the table to (method, signal); the verdict's score is combined from several."""
BASELINES = ("loss-gap", "loss-gap relative", "pia")


def _scores(audits: Sequence[Mapping[str, Any]], name: str) -> list[Audit]:
    method, signal = SCORES[name]
    return [
        _combined(audit["signals"]) if name == VERDICT else Audit(*map(np.array, audit["signals"][method][signal]))
        for audit in audits
    ]


def _combined(signals: Mapping[str, Mapping[str, list[list[float]]]]) -> Audit:
    """The verdict's score of members, holdouts and controls, as `intaglio authenticate` combines it."""
    parts = [
        {f"{method} {signal}": signals[method][signal][place] for method, signal in COMBINED} for place in range(3)
    ]
    members, holdouts = combine(parts[0], parts[2]), combine(parts[1], parts[2])
    return Audit(members.scores, holdouts.scores, members.controls)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
