"""`intaglio bench components`: credit for a likeness that one LoRA of a drawing is known to bring."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from intaglio.audit.components.family import ComponentAudit
from intaglio.bench.components.component_scene import GUILTY, INNOCENT, ComponentScene
from intaglio.bench.kit.few_shot_bench import FewShotBench
from intaglio.bench.kit.methods import default_methods
from intaglio.metrics.statistics.interval import interval
from intaglio.printable import aligned
from intaglio.runs.fan_out import fan_out, workers_for
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

QUICK_SETS = 3


@dataclass(frozen=True, kw_only=True)
class ComponentsBench(FewShotBench):
    """Credit of components: the share of a LoRA tuned on the target pictures, beside an innocent one.

    For each few-shot set the target pictures are its ten members. Components are a LoRA tuned on them, a LoRA of the
    same dose tuned on a hundred pictures that the base knows, and the words that the first was tuned under; 32 pictures
    of each set of components are drawn without guidance. `told` is the share of sets in which all
    components together bring the drawings nearer, so that there are shares; `guilty` the mean share there of the LoRA
    that did it, with its interval over sets, `first` how often it has the largest effect and `innocent_at_0` how often
    the other's interval covers 0, both of all sets; `innocent` its mean effect over the guilty one's mean effect.
    """

    quick: bool = False
    """Three sets: minutes."""
    sets: tuple[str, ...] = ()
    """Few-shot sets as target pictures; none takes all (or three with --quick)."""
    seed: int = 0
    """Of fine-tunes, drawings and resamples."""

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row under `rows`."""
        methods = {name: asdict(method) for name, method in self._methods().items()}
        settings = {"sets": self.chosen_sets(QUICK_SETS), "methods": methods}
        about: dict[str, Any] = {"seed": self.seed, "device": self.device, "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "components", settings, self.inputs(), **about) as run:
            if run.status != "done":
                self._measure(run)
                run.finish(_figures(run))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        lines: list[tuple[str, ...]] = [
            ("row", "told", "guilty's share", "95%", "first", "innocent at 0", "innocent over guilty", "sets drawn")
        ]
        for name, row in figures["rows"].items():
            low, high = row["interval"]
            share = ("-", "-") if row["guilty"] is None else (f"{row['guilty']:.2f}", f"{low:.2f} to {high:.2f}")
            rest = (f"{row['first']:.2f}", f"{row['innocent_at_0']:.2f}", f"{row['innocent']:.2f}", str(row["drawn"]))
            lines.append((name, f"{row['told']:.2f}", *share, *rest))
        return aligned(lines)

    def _methods(self) -> dict[str, ComponentAudit]:
        return default_methods("audit components", seed=self.seed)

    def _measure(self, run: Run) -> None:
        jobs = self.chosen_sets(QUICK_SETS)
        left = [job for job in jobs if job not in run.recorded("set")]
        with run.progress(len(jobs), "sets", len(jobs) - len(left)) as progress:
            for job, found in fan_out(self._rows, left, self.workers or workers_for(self.device)):
                run.record("set", job, found)
                progress.advance()

    def _rows(self, subject: str) -> dict[str, Any]:
        return ComponentScene(self.base, subject, self.seed).rows(self._methods())


def _figures(run: Run) -> dict[str, Any]:
    """Headline figures, then every row."""
    every = run.recorded("set")
    names = sorted({name for found in every.values() for name in found})
    rows = {name: _row([found[name] for found in every.values()]) for name in names}
    return {
        "sets": len(every),
        **{f"{what}_{name.replace('-', '_')}": row[what] for name, row in rows.items() for what in ("guilty", "first")},
        "seconds": run.seconds,
        "machine": machine(),
        "versions": versions(),
        "rows": rows,
        "by_set": every,
    }


def _row(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over sets of one method."""
    parts = [{part["name"]: part for part in one["parts"]} for one in found]
    shares = np.array([one[GUILTY]["share"][0] for one in parts if one[GUILTY]["share"] is not None])
    effects = {name: np.array([one[name]["effect"] for one in parts]) for name in parts[0]}
    first = [max(one, key=lambda name: one[name]["effect"][0]) == GUILTY for one in parts]
    _, low, high = effects[INNOCENT].T
    return {
        "told": len(shares) / len(found),
        "guilty": float(shares.mean()) if len(shares) else None,
        "interval": list(interval(lambda drawn: drawn.mean(-1), [shares])) if len(shares) else [None, None],
        "first": float(np.mean(first)),
        "innocent_at_0": float(np.mean((low <= 0) & (high >= 0))),
        "innocent": float(effects[INNOCENT][:, 0].mean() / effects[GUILTY][:, 0].mean()),
        "drawn": found[0]["sets"],
    }
