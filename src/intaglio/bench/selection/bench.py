"""`intaglio bench selection`: LoRAs tuned on the pictures that each method chooses, beside random choices."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from intaglio.audit.selection.family import Selector
from intaglio.bench.kit.few_shot_bench import FewShotBench
from intaglio.bench.kit.methods import default_methods
from intaglio.bench.selection.selection_scene import SelectionScene
from intaglio.metrics.statistics.interval import interval
from intaglio.printable import aligned
from intaglio.runs.fan_out import fan_out, workers_for
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

QUICK_SETS, RANDOM, QUICK_RANDOM = 3, 5, 2
"""Sets of a quick bench; random choices that each method is compared with."""
OWN, ALL, CHANCE = "own", "all", "random"
"""Rows of no method: the set's own ten pictures, the whole pool, and the mean of random choices."""
SIZE = 10
"""Pictures that a method chooses, as many as there are of the set."""


@dataclass(frozen=True, kw_only=True)
class SelectionBench(FewShotBench):
    """Every choice of training pictures: the loss of a LoRA tuned on it, beside random choices.

    For each few-shot set the pool is its ten members among forty pictures of two other sets, under their captions;
    five holdouts are what is chosen for, and five more what the choice is judged by. A LoRA of 100 steps is tuned on
    each choice of ten. `loss` is the mean denoising loss of the judged pictures over the base's, `gain` the mean over
    sets of the random choices' less the method's, with its interval over sets; `own` the share of the choice that is of
    the set. Rows beside the methods: the set's own members, the whole pool, and the mean of random choices.
    """

    quick: bool = False
    """Three sets and two random choices in place of five: minutes."""
    sets: tuple[str, ...] = ()
    """Few-shot sets to be good at; none takes all (or three with --quick)."""
    seed: int = 0
    """Of methods, random choices and fine-tunes."""

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row under `rows`."""
        settings = {
            "sets": self.chosen_sets(QUICK_SETS),
            "random": self._random,
            "methods": {name: asdict(method) for name, method in self._methods().items()},
        }
        about: dict[str, Any] = {"seed": self.seed, "device": self.device, "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "selection", settings, self.inputs(), **about) as run:
            if run.status != "done":
                self._measure(run)
                run.finish(_figures(run))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        lines: list[tuple[str, ...]] = [("row", "loss", "gain over random", "95%", "own", "s")]
        for name, row in figures["rows"].items():
            low, high = row["interval"]
            gained = (f"{row['gain']:.4f}", f"{low:.4f} to {high:.4f}") if name != CHANCE else ("-", "-")
            lines.append((name, f"{row['loss']:.4f}", *gained, f"{row['own']:.2f}", f"{row['seconds']:.0f}"))
        return aligned(lines)

    @property
    def _random(self) -> int:
        return QUICK_RANDOM if self.quick else RANDOM

    def _methods(self) -> dict[str, Selector]:
        return default_methods("audit selection", seed=self.seed, size=SIZE)

    def _measure(self, run: Run) -> None:
        rows = (OWN, ALL, *(f"{CHANCE} {number}" for number in range(self._random)), *self._methods())
        jobs = [(subject, row) for subject in self.chosen_sets(QUICK_SETS) for row in rows]
        left = [job for job in jobs if "/".join(job) not in run.recorded("choice")]
        with run.progress(len(jobs), "choices", len(jobs) - len(left)) as progress:
            for job, found in fan_out(self._row, left, self.workers or workers_for(self.device)):
                run.record("choice", "/".join(job), found)
                progress.advance()

    def _row(self, job: tuple[str, str]) -> dict[str, Any]:
        """Figures of one choice for one set."""
        subject, row = job
        scene = SelectionScene(self.base, subject, self.seed)
        if (method := self._methods().get(row)) is not None:
            choice = scene.chosen(method, Run.none())
        elif row == OWN:
            choice = {"places": list(scene.own), "seconds": 0.0}
        elif row == ALL:
            choice = {"places": list(range(len(scene.pool))), "seconds": 0.0}
        else:
            choice = {"places": scene.at_random(int(row.split()[1])), "seconds": 0.0}
        return {**choice, **scene.figures(choice["places"])}


def _figures(run: Run) -> dict[str, Any]:
    """Headline figures, then every row."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for key, one in run.recorded("choice").items():
        subject, row = key.split("/")
        name, _, number = row.partition(" ")
        found.setdefault(name, {}).setdefault(subject, {})[number] = one
    chance = {
        subject: float(np.mean([one["loss"] for one in some.values()])) for subject, some in found[CHANCE].items()
    }
    order = [*(name for name in (OWN, ALL, CHANCE) if name in found), *sorted(found.keys() - {OWN, ALL, CHANCE})]
    rows = {name: _row(found[name], chance) for name in order}
    return {
        "sets": len(chance),
        **{f"gain_{name.replace('-', '_')}": row["gain"] for name, row in rows.items() if name != CHANCE},
        "seconds": run.seconds,
        "machine": machine(),
        "versions": versions(),
        "rows": rows,
    }


def _row(some: Mapping[str, Mapping[str, Mapping[str, Any]]], chance: Mapping[str, float]) -> dict[str, Any]:
    """Means over sets of one row."""
    means = {
        what: np.array([np.mean([one[what] for one in some[subject].values()]) for subject in chance])
        for what in ("loss", "own", "count", "seconds")
    }
    gains = np.array(list(chance.values())) - means["loss"]
    return {
        **{what: float(values.mean()) for what, values in means.items()},
        "gain": float(gains.mean()),
        "interval": list(interval(lambda drawn: drawn.mean(-1), [gains])),
    }
