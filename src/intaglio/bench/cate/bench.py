"""`intaglio bench cate`: who gains by a treatment, told from pictures and from their colours alone."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from intaglio.bench.cate.picture_trials import GAINS, GainingPictures, gaining_pictures
from intaglio.bench.kit.methods import default_methods
from intaglio.causal.cate.family import EffectLearner
from intaglio.causal.cate.rank_weighted import autoc
from intaglio.files import file_hash
from intaglio.metrics.statistics.mean_interval import mean_interval
from intaglio.models import testbed
from intaglio.printable import aligned
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

VERB = "causal cate"
SOURCES = ("encoder", "classifier", "colour")
TRIALS, QUICK_TRIALS = 20, 4
RESAMPLES = 100


@dataclass(frozen=True, kw_only=True)
class CateBench:
    """Learners of effects on trials of pictures, as networks see them and by colours alone.

    Faces gain 1 by a treatment that is drawn with probability 1/2, or pictures of one artist do, and others nothing;
    outcomes also go with the spread of a picture's colours. Units are told apart by the embedded encoder, by what the
    embedded classifier's heads of kinds and artists take, or by colours. `autoc` is the mean over trials with its 95%
    interval, and `best` that of a perfect ranking; `power` the share of trials whose test finds at 5% that those ranked
    first gain more; `error` the root mean square of predicted less true effects over that of one effect for all, as a
    ratio of means over trials: below 1 is better than no ranking.
    """

    quick: bool = False
    """4 trials; some seven minutes."""
    trials: int = 20
    """Trials of a kind of gain, at least 2, with --quick at most 4."""
    seed: int = 0
    """Of treatments, noise and folds, from 0."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if self.trials < 2:
            raise ValueError(f"trials must be at least 2, not {self.trials}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, not {self.seed}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row under `rows`."""
        methods: dict[str, EffectLearner] = default_methods(VERB, seed=self.seed, resamples=RESAMPLES)
        count = min(self.trials, QUICK_TRIALS) if self.quick else self.trials
        settings = {"trials": count, "methods": {name: asdict(one) for name, one in methods.items()}}
        inputs = {"similarity": {"path": "testbed", "sha256": file_hash(testbed.encoder_path())}}
        about: dict[str, Any] = {"seed": self.seed, "device": "cpu", "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "cate", {**settings, "seed": self.seed}, inputs, **about) as run:
            if run.status != "done":
                self._measure(methods, count, run)
                run.finish(figures_of(run.recorded("row"), run.seconds))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        head = ("gain", "row", "autoc", "best", "power", "error")
        lines = [
            (
                gain,
                name,
                "{:.3f} ({:.3f} to {:.3f})".format(one["autoc"], *one["interval"]),
                f"{one['best']:.3f}",
                f"{one['power']:.2f}",
                f"{one['error']:.2f}",
            )
            for gain, rows in figures["rows"].items()
            for name, one in rows.items()
        ]
        return aligned([head, *lines])

    def _measure(self, methods: Mapping[str, EffectLearner], count: int, run: Run) -> None:
        rows = [(gain, f"{name} {source}") for gain in GAINS for name in methods for source in SOURCES]
        left = [row for row in rows if " ".join(row) not in run.recorded("row")]
        pictures = gaining_pictures() if left else {}
        with run.progress(len(rows), "rows", len(rows) - len(left)) as progress:
            for gain, row in left:
                name, _, source = row.partition(" ")
                run.record("row", f"{gain} {row}", measured(methods[name], pictures[gain], source, count, self.seed))
                progress.advance()


def measured(method: EffectLearner, pictures: GainingPictures, source: str, count: int, seed: int) -> dict[str, Any]:
    """Of each trial: AUTOC and the p of its test, and mean squared errors of the effects and of one for all."""
    began = time.monotonic()
    found = [method(pictures.trial(source, number, seed)) for number in range(count)]
    alike = [one.mean.value for one in found]
    return {
        "autoc": [one.autoc.value for one in found],
        "p": [one.autoc.p for one in found],
        "error": [float(((one.effects - pictures.gains) ** 2).mean()) for one in found],
        "alike": [float(((pictures.gains - one) ** 2).mean()) for one in alike],
        "best": autoc(pictures.gains, pictures.gains),
        "seconds": time.monotonic() - began,
    }


def figures_of(recorded: Mapping[str, Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """Headline figures, then every row by its gain."""
    rows: dict[str, dict[str, Any]] = {}
    for key, found in recorded.items():
        gain, _, name = key.partition(" ")
        rows.setdefault(gain, {})[name] = {
            "autoc": float(np.mean(found["autoc"])),
            "interval": list(mean_interval(found["autoc"])),
            "best": found["best"],
            "power": float(np.mean(np.array(found["p"]) < 0.05)),
            "error": float(np.mean(np.sqrt(found["error"])) / np.mean(np.sqrt(found["alike"]))),
            "seconds": found["seconds"],
        }
    flat = {
        f"{what}_{gain}_{name.replace('-', '_').replace(' ', '_')}": one[what]
        for gain, methods in rows.items()
        for name, one in methods.items()
        for what in ("autoc", "error")
    }
    return {**flat, "seconds": seconds, "machine": machine(), "versions": versions(), "rows": rows}
