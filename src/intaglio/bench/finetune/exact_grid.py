"""The regimes that exact bases are fine-tuned in, and what each form of the fine-tune shows in them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from intaglio.bench.finetune.exact_ground import Mixtures, base_error, trained_base
from intaglio.bench.finetune.exact_stage import ExactRegime, exact_course
from intaglio.runs.run import Run

SIGMAS = (0.01, 0.03, 0.1)
"""Standard deviations of random weights, of which the first is the paper's."""
EMA = 0.95
"""Decay of the mean of the weights."""
ADAMW_RATES, SGD_RATES, TOO_HIGH = (1e-4, 3e-4, 1e-3, 3e-3), (1e-3, 1e-2), (3e-2, 1e-1)
"""Learning rates; with those too high, of gradient descent, most fine-tunes diverge."""
COUNTS = ((1, 32), (4, 1), (4, 32))
"""Training points, and draws a step, beside one and one."""
DROPOUT = 0.1
"""Share of the draws whose label is hidden, in the regimes with hidden labels."""
LONG = 12_000
"""Steps of the long regimes."""
COURSES, BASE = "course", "base"
"""Names of the courses and of the base's error among a run's records."""


@dataclass(frozen=True)
class ExactGrid:
    """The regimes of a bench on exact ground."""

    worlds: int
    """Worlds side by side, each with a base and points of its own."""
    base_steps: int
    """Steps of the bases' training."""
    regimes: tuple[ExactRegime, ...]
    """Those of the plain form."""
    sigmas: tuple[float, ...]
    """Of the random weights, each a form of its own."""

    def forms(self, regime: ExactRegime) -> dict[str, ExactRegime]:
        """The forms of a regime by name."""
        random = {f"sigma {sigma:g}": replace(regime, sigma=sigma) for sigma in self.sigmas}
        return {"plain": regime, **random, "ema": replace(regime, ema=EMA)}

    def jobs(self) -> Iterator[tuple[str, str, ExactRegime]]:
        """Name of the regime, name of the form, and that form."""
        for regime in self.regimes:
            for form, tuned in self.forms(regime).items():
                yield name_of(regime), form, tuned


def full_grid() -> ExactGrid:
    """All regimes that were tried: AdamW and gradient descent at several rates, with one point or four and 1 draw a
    step or 32. With one point and one draw there are two more rates that are too high, AdamW with labels hidden
    in a tenth of the draws, and 12,000 steps in place of 2000 at one rate.
    """
    usual = [*(ExactRegime("adamw", rate) for rate in ADAMW_RATES), *(ExactRegime("sgd", rate) for rate in SGD_RATES)]
    high = [ExactRegime("sgd", rate) for rate in TOO_HIGH]
    hidden = [ExactRegime("adamw", rate, dropout=DROPOUT) for rate in ADAMW_RATES]
    long = [ExactRegime("adamw", 1e-3, dropout=dropout, steps=LONG) for dropout in (0.0, DROPOUT)]
    more = [replace(regime, points=points, batch=batch) for points, batch in COUNTS for regime in usual]
    return ExactGrid(8, 4000, (*usual, *high, *hidden, *long, *more), SIGMAS)


def quick_grid() -> ExactGrid:
    """The high rate of AdamW with 1 and 32 draws a step, and with hidden labels, in seconds."""
    plain = ExactRegime(rate=3e-3, steps=500)
    return ExactGrid(4, 1200, (plain, replace(plain, batch=32), replace(plain, dropout=DROPOUT)), SIGMAS[1:2])


def name_of(regime: ExactRegime) -> str:
    """Such as `adamw 0.003, points 1, draws 32, steps 2000`."""
    hidden = f", hidden {regime.dropout:g}" if regime.dropout else ""
    counts = f"points {regime.points}, draws {regime.batch}, steps {regime.steps}"
    return f"{regime.optimiser} {regime.rate:g}, {counts}{hidden}"


def measure(run: Run, grid: ExactGrid) -> None:
    """Records every course of the grid, and goes on where a killed run was."""
    jobs, done = list(grid.jobs()), run.recorded(COURSES)
    left = [(f"{name}/{form}", regime) for name, form, regime in jobs if f"{name}/{form}" not in done]
    if not left:
        return
    mixtures = Mixtures.drawn(grid.worlds)
    base = trained_base(mixtures, grid.base_steps)
    run.record(BASE, "error", {"shares": base_error(base, mixtures).tolist()})
    with run.progress(len(jobs), "courses", len(jobs) - len(left)) as progress:
        for key, regime in left:
            course = exact_course(base, regime)
            measures = {name: rows.double().numpy().round(5).tolist() for name, rows in course.measures.items()}
            run.record(COURSES, key, {"steps": list(course.steps), "measures": measures})
            progress.advance()
