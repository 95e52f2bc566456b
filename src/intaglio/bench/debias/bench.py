"""`intaglio bench debias`: effects from predicted scores, against their true ones, before and after corrections."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from intaglio.bench.debias.predicted_scores import SCORES, PredictedScores, drawn_trials, predicted_scores
from intaglio.bench.kit.methods import default_methods
from intaglio.causal.debias.family import PredictionCorrection
from intaglio.causal.debias.methods.lcc import slope_of
from intaglio.files import file_hash
from intaglio.metrics.statistics.interval import interval
from intaglio.models import testbed
from intaglio.printable import aligned
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

VERB = "causal debias"
TRIALS, QUICK_TRIALS = 200, 60
RESAMPLES = 100


@dataclass(frozen=True, kw_only=True)
class DebiasBench:
    """Corrections of predicted outcomes, on trials whose true effects are known.

    Outcomes are scores of the testbed's pictures: colour saturation, warmth and ink. A ridge regression on the embedded
    encoder's descriptors, learnt from 250 pictures, predicts them; corrections learn from 200 others. Arms of a trial
    are drawn from the rest with probabilities that go with the score. `ratio` is the slope of estimated on true effects
    over trials, 1 for unbiased ones, with its 95% interval; `coverage` the share of trials whose 95% interval holds the
    true effect; `error` the root mean square of estimated less true effects.
    """

    quick: bool = False
    """60 trials a score; under two minutes."""
    trials: int = 200
    """Trials of a score, at least 2, with --quick at most 60."""
    seed: int = 0
    """Of splits, trials and resamples, from 0."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if self.trials < 2:
            raise ValueError(f"trials must be at least 2, not {self.trials}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, not {self.seed}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row under `rows`."""
        methods: dict[str, PredictionCorrection] = default_methods(VERB, seed=self.seed, resamples=RESAMPLES)
        count = min(self.trials, QUICK_TRIALS) if self.quick else self.trials
        settings = {"trials": count, "methods": {name: asdict(one) for name, one in methods.items()}}
        inputs = {"similarity": {"path": "testbed", "sha256": file_hash(testbed.encoder_path())}}
        about: dict[str, Any] = {"seed": self.seed, "device": "cpu", "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "debias", {**settings, "seed": self.seed}, inputs, **about) as run:
            if run.status != "done":
                self._measure(methods, count, run)
                run.finish(figures_of(run.recorded("row"), run.recorded("slope"), run.seconds))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        head = ("score", "row", "ratio", "coverage", "error")
        lines = [
            (
                score,
                name,
                "{:.2f} ({:.2f} to {:.2f})".format(one["ratio"], *one["interval"]),
                f"{one['coverage']:.2f}",
                f"{one['error']:.3f}",
            )
            for score, rows in figures["rows"].items()
            for name, one in rows.items()
        ]
        return aligned([head, *lines])

    def _measure(self, methods: Mapping[str, PredictionCorrection], count: int, run: Run) -> None:
        rows = [(score, name) for score in SCORES for name in methods]
        left = [row for row in rows if " ".join(row) not in run.recorded("row")]
        scores = predicted_scores(self.seed) if left else {}
        with run.progress(len(rows), "rows", len(rows) - len(left)) as progress:
            for score, name in left:
                run.record("slope", score, {"slope": slope_of(scores[score].calibration)[0]})
                run.record("row", f"{score} {name}", measured(methods[name], scores[score], count, self.seed))
                progress.advance()


def measured(method: PredictionCorrection, scores: PredictedScores, count: int, seed: int) -> dict[str, Any]:
    """True effects, estimated ones, and whether each interval holds its own."""
    trials, true = drawn_trials(scores, count, seed)
    found = method(scores.calibration, trials)
    held = [
        low <= effect <= high for (low, high), effect in zip((e.interval for e in found.effects), true, strict=True)
    ]
    return {"true": true.tolist(), "estimated": [one.effect for one in found.effects], "held": held}


def figures_of(
    recorded: Mapping[str, Mapping[str, Any]], slopes: Mapping[str, Mapping[str, float]], seconds: float
) -> dict[str, Any]:
    """Headline figures, then every row by its score."""
    rows: dict[str, dict[str, Any]] = {}
    for key, found in recorded.items():
        score, _, name = key.partition(" ")
        rows.setdefault(score, {})[name] = _row(found)
    flat = {
        f"{what}_{score}_{name.replace('-', '_')}": one[what]
        for score, methods in rows.items()
        for name, one in methods.items()
        for what in ("ratio", "coverage")
    }
    about = {"seconds": seconds, "machine": machine(), "versions": versions()}
    return {**flat, "slopes": {name: one["slope"] for name, one in slopes.items()}, **about, "rows": rows}


def _row(found: Mapping[str, Any]) -> dict[str, Any]:
    true, estimated = np.array(found["true"]), np.array(found["estimated"])
    pairs = [estimated * true, true**2]
    return {
        "ratio": float(pairs[0].sum() / pairs[1].sum()),
        "interval": list(interval(lambda one, two: one.mean(-1) / two.mean(-1), pairs, paired=True)),
        "coverage": float(np.mean(found["held"])),
        "error": float(np.sqrt(((estimated - true) ** 2).mean())),
    }
