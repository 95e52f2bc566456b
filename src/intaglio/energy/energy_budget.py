"""`EnergyBudget`: a stop rule of a training, which ends it before a budget of joules is spent."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import mean, median, pstdev

from intaglio.amounts import energy_words
from intaglio.errors import IntaglioError, require

WINDOW = 50
"""Last steps by which the next one is judged, and over which drift is looked for."""
DRIFT_BOUNDS = (0.8, 1.25)
"""Measured over estimated joules of a step within which an estimate counts as met."""


def _nothing(*args: object) -> None:
    pass


@dataclass
class EnergyBudget:
    """A training may go on while used + reserve + next step <= budget.

    `stops` is asked before every step, and `after_step` told after every one; a step is an update of the weights with
    all passes whose gradients it takes. The next step counts as the mean of the last `WINDOW` plus two of their
    standard deviations. The first step of a process warms up, and counts as used only. The caller ends, saves and
    judges; the reserve is for that.

    With a reading of what was spent the amounts are the meter's; without one they are the stated joules of a step
    times the steps made, and `origin` says so.
    """

    joules: float
    """The budget in J, above 0."""
    spent: Callable[[], float] | None = None
    """Reading of the joules spent since this part of the work began; None where there is no meter."""
    step_joules: float | None = None
    """Estimate of one step in J, above 0; needed without a meter."""
    origin: str = "measured"
    """How the amounts come about, as a word for people: measured, modelled or estimated."""
    before: float = 0.0
    """Joules that earlier parts of the same work spent, at least 0."""
    recent: Sequence[float] = ()
    """Joules of the last steps of those parts, each at least 0, by which the next one is judged."""
    reserve: float = 0.0
    """Joules that are kept for what follows the last step, at least 0."""
    reserve_steps: float = 0.0
    """The same as a number of steps, at least 0, on top of `reserve`: known before a step was measured."""
    warn: Callable[[str], object] = field(default=_nothing, repr=False)
    """Takes one sentence where measured steps drift from the estimate, once."""
    told: Callable[[int, float, float | None], object] = field(default=_nothing, repr=False)
    """Takes the step, the joules used until then and those of the step, None for a first one, after every step."""

    def __post_init__(self) -> None:
        require(0 < self.joules < math.inf, f"an energy budget must be above 0 and finite, not {self.joules} J")
        require(
            self.spent is not None or self.step_joules is not None,
            "an energy budget needs a meter, or the estimated joules of a step",
        )
        if self.step_joules is not None:
            require(0 < self.step_joules < math.inf, f"step_joules must be above 0 and finite, not {self.step_joules}")
        for name in ("before", "reserve", "reserve_steps"):
            value = getattr(self, name)
            require(0 <= value < math.inf, f"{name} must be finite and at least 0, not {value}")
        self.stopped = False
        """Whether the last answer of `stops` was yes."""
        require(all(0 <= one < math.inf for one in self.recent), "recent must hold finite joules of at least 0")
        self._steps: deque[float] = deque(self.recent, maxlen=WINDOW)
        self._made, self._first = 0, 0.0
        self._began: float | None = None
        self._warned = False

    @property
    def used(self) -> float:
        """Joules of this work until now, earlier parts included. Raises what the reading raises."""
        if self.spent is not None:
            return self.before + self.spent()
        return self.before + self._made * (self.step_joules or 0.0)

    @property
    def next_step(self) -> float:
        """Joules that the next step is to take at most: by those measured, else the estimate, else the first one's."""
        if self._steps:
            return mean(self._steps) + 2 * pstdev(self._steps)
        return self.step_joules or self._first

    @property
    def kept_back(self) -> float:
        """Joules of the reserve."""
        usual = median(self._steps) if self._steps else self.step_joules or 0.0
        return self.reserve + self.reserve_steps * usual

    def stops(self) -> bool:
        """Whether a further step would spend more than the budget holds; to be asked before every step.

        Raises `IntaglioError` where it does not hold the very first one.
        """
        self._began = self.used
        self.stopped = self._began + self.kept_back + self.next_step > self.joules
        if self.stopped and not self._made and not self.before:
            raise IntaglioError(
                f"the energy budget of {energy_words(self.joules)} holds no step: {energy_words(self._began)} "
                f"{self.origin} went before the first, and {energy_words(self.kept_back)} are kept for what follows "
                "the last; give a larger budget"
            )
        return self.stopped

    def after_step(self, step: int) -> None:
        """Notes that an update was made, the training's `step`-th."""
        self._made += 1
        used = self.used
        cost = self._cost(used)
        if cost is not None:
            self._steps.append(cost)
        self.told(step, used, cost)
        self._look_for_drift(step)

    def figures(self) -> dict[str, float | str | bool]:
        """Plain values: the budget and what is used of it now in J, how that came about, whether it ended the work."""
        return {"joules": self.joules, "used": self.used, "by": self.origin, "stopped": self.stopped}

    def sentence(self, step: int, steps: int) -> str:
        """The warning of a training that the budget ended after `step` of `steps`."""
        used = self.used if self._began is None else self._began
        return (
            f"the energy budget of {energy_words(self.joules)} ended the training after step {step} of {steps}: "
            f"{energy_words(used)} {self.origin}, and {energy_words(self.kept_back)} kept for what follows; "
            "the result is that of a shorter training"
        )

    def _cost(self, used: float) -> float | None:
        """Joules of the step that was just made; None for the first that a meter measured, which is kept apart."""
        if self.spent is None:
            return self.step_joules
        cost = max(0.0, used - (used if self._began is None else self._began))
        if self._made > 1:
            return cost
        self._first = cost
        return None

    def _look_for_drift(self, step: int) -> None:
        if self._warned or self.step_joules is None or len(self._steps) < WINDOW:
            return
        ratio = mean(self._steps) / self.step_joules
        if not DRIFT_BOUNDS[0] <= ratio <= DRIFT_BOUNDS[1]:
            self._warned = True
            self.warn(
                f"the last {WINDOW} steps until step {step} took {ratio:.2f} times the estimated energy "
                f"({energy_words(self.step_joules)} a step): another process on the device, a throttled one, or a "
                "profile of another machine are likely causes"
            )
