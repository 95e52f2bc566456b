"""`PathGrid`: the noise levels that a model of flow matching is sampled at, as its pipeline chooses them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from intaglio.data_files import Fields
from intaglio.errors import BadInput, require

Ends = Literal["even", "smallest", "late"]
MOST_SHIFT = 1000.0
"""Largest shift that is taken."""
MANY_STEPS = 200
"""Steps of the walk whose shift a grid names, where the shift depends on the number of steps."""


@dataclass(frozen=True)
class PathGrid:
    """Noise levels s of a walk along a straight path: places u, evenly spaced, moved towards the noisy end.

    s = k u / (1 + (k - 1) u) (arXiv 2403.03206, equation 23), with the shift k.
    """

    shift: float = 1.0
    """k, above 0; 1 moves nothing. Above 1 more steps are spent where there is more noise."""
    ends: Ends = "even"
    """Places of n steps: `even`, 1 to 1/n; `smallest`, 1 to the schedule's smallest level, shifted; `late`, 0.999 to 0
    in n + 1 places, of which the last is the clean end."""
    smallest: float = 0.001
    """Lowest place of `smallest`, in (0, 1)."""
    terminal: float | None = None
    """Noise level of the last step, to which levels are stretched; None leaves them."""
    per_step: float = 0.0
    """Change of log k for each step that a walk has more than 200 (FLUX.2); 0: k is that of any number of steps."""

    def __post_init__(self) -> None:
        require(0 < self.shift <= MOST_SHIFT, f"shift must lie in (0, {MOST_SHIFT:g}], not {self.shift}")
        require(0 < self.smallest < 1, f"smallest must lie between 0 and 1, not {self.smallest}")
        require(self.terminal is None or 0 < self.terminal < 1, f"terminal must lie in (0, 1), not {self.terminal}")

    def levels(self, steps: int, first: float = 1.0, until: float = 0.0) -> list[float]:
        """The noise levels of `steps` steps, falling, without the end, from `first` towards `until`, both in [0, 1].

        A walk that begins or ends elsewhere than the whole one takes its places between the two, evenly.
        """
        if self.per_step:
            shift = self.shift * math.exp(self.per_step * (steps - MANY_STEPS))
            return replace(self, shift=min(shift, MOST_SHIFT), per_step=0.0).levels(steps, first, until)
        start, end = self._place(first), self._place(until)
        if until == 0.0 and self.ends == "smallest":
            places = [start + (min(self.smallest, start) - start) * k / max(1, steps - 1) for k in range(steps)]
        else:
            top = min(start, 0.999) if self.ends == "late" else start
            places = [top + (end - top) * k / steps for k in range(steps)]
        found = [self._level(place) for place in places]
        if self.terminal is None or until != 0.0:
            return found
        stretch = (1 - self.terminal) / (1 - found[-1]) if found[-1] < 1 else 1.0
        return [1 - (1 - level) * stretch for level in found]

    def _level(self, place: float) -> float:
        return self.shift * place / (1 + (self.shift - 1) * place)

    def _place(self, level: float) -> float:
        return level / (self.shift - (self.shift - 1) * level)


EVEN = PathGrid()
"""Steps of one length."""


@dataclass(frozen=True)
class TokenShift:
    """A shift of e^mu, mu on a line in the number of image tokens (FLUX.1)."""

    low: tuple[int, float] = (256, 0.5)
    """Tokens and mu of one point of the line."""
    high: tuple[int, float] = (4096, 1.15)
    """Tokens and mu of another."""

    def at(self, tokens: int) -> float:
        """K at a number of tokens."""
        slope = (self.high[1] - self.low[1]) / (self.high[0] - self.low[0])
        return math.exp(self.low[1] + slope * (tokens - self.low[0]))

    @classmethod
    def from_config(cls, fields: Fields) -> "TokenShift":
        """The line of a scheduler's settings; missing ones are those of diffusers. Raises `BadInput` for others."""
        tokens = [fields.whole(f"{name}_image_seq_len", usual, 1) for name, usual in (("base", 256), ("max", 4096))]
        shifts = [fields.number(f"{name}_shift", usual, -5.0, 5.0) for name, usual in (("base", 0.5), ("max", 1.15))]
        if tokens[0] == tokens[1]:
            raise BadInput(f"{fields.source} has one base_image_seq_len and max_image_seq_len; {fields.remedy}")
        return cls((tokens[0], shifts[0]), (tokens[1], shifts[1]))


def flow_grid(config: Mapping[str, Any], ends: Ends, tokens: int, source: str = "the scheduler") -> PathGrid:
    """The grid of a `FlowMatchEulerDiscreteScheduler`, at a number of image tokens, or of a solver with flow sigmas.

    Raises `BadInput` for settings that choose other levels (`use_karras_sigmas` and its like), and for values out of
    their range.
    """
    fields = Fields(config, source, "give the scheduler_config.json of the model's own folder")
    for name in ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "invert_sigmas"):
        if fields.flag(name, False):
            raise BadInput(f"{source} says {name}, which is not supported; {fields.remedy}")
    count = fields.whole("num_train_timesteps", 1000, 2)
    if fields.flag("use_flow_sigmas", False):
        return PathGrid(fields.number("flow_shift", 1.0, 1e-3, MOST_SHIFT), "late")
    terminal = fields.number("shift_terminal", None, 1e-6, 0.999) if fields.values.get("shift_terminal") else None
    if fields.flag("use_dynamic_shifting", False):
        if fields.text("time_shift_type", "exponential") != "exponential":
            raise BadInput(f"{source} has another time_shift_type than exponential, which is not supported")
        shift = TokenShift.from_config(fields).at(tokens)
        return PathGrid(min(shift, MOST_SHIFT), ends, 1 / count, terminal)
    shift = fields.number("shift", 1.0, 1e-3, MOST_SHIFT)
    return PathGrid(shift, ends, PathGrid(shift)._level(1 / count), terminal)
