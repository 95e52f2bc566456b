"""Reconstruction of one unit: its roundings are learned so that its output stays that of the full model."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.models.packing.integers import Integers
from intaglio.randomness import generator
from intaglio.runs.progress import Progress
from intaglio.runs.run import Run
from intaglio.runs.steps import StepState, in_steps
from intaglio.shrink.rounding import SoftRounding, indecision, undecided
from intaglio.shrink.unit_rows import CHUNK, UnitRows
from intaglio.shrink.units import DenoiserUnit

STATE = "rounding"
"""A run's state of the unit in work."""
WARM_UP, FIRST_POWER, LAST_POWER = 0.2, 20.0, 2.0
"""Share of the iterations without a penalty, and the powers that it begins and ends with."""
MEAN, SQUARE, FLOOR = 0.9, 0.999, 1e-8
"""Adam's decay of means and squares, and what keeps its steps finite."""


@dataclass(frozen=True)
class Reconstruction:
    """Settings of a reconstruction."""

    iterations: int
    batch: int
    """Rows of an iteration."""
    rate: float
    """Of Adam, a step of α."""
    penalty: float
    """Of each choice that is not made."""
    seed: int


@dataclass(frozen=True, eq=False)
class Reconstructed:
    """The codes of a unit's weights."""

    terms: Mapping[str, Integers]
    """By the names of the weights in the unit's module."""
    loss: float
    """Of the unit's output on rows that it did not learn from, under these codes."""
    nearest: float
    """The same under the nearest codes."""
    undecided: float
    """Share of choices that were not made when they were hardened."""


@dataclass(frozen=True, eq=False)
class _Choices(StepState):
    """The α of all weights in one row, with Adam's moments."""

    alpha: Float[Tensor, "n"]
    mean: Float[Tensor, "n"]
    square: Float[Tensor, "n"]


def reconstruct(
    unit: DenoiserUnit,
    roundings: Mapping[str, SoftRounding],
    fixed: Mapping[str, Tensor],
    rows: UnitRows,
    judged: UnitRows,
    settings: Reconstruction,
    *,
    run: Run = Run.none(),
    progress: Progress,
) -> Reconstructed:
    """Learns the roundings of a unit by Adam on its output's error plus a penalty of choices that are not made.

    The error is the mean over positions of the sum over channels of squared differences. The penalty,
    λΣ(1 - |2h-1|^β), sets in after a fifth of the iterations; β falls from 20 to 2. Codes that are no better than the
    nearest ones, on rows that were not learned from, give way to these.

    Args:
        unit: whose module is frozen.
        roundings: of its weights, by their names in the module, on the device of the module.
        fixed: its weights that have their codes already.
        rows: that it learns from.
        judged: rows that it does not learn from.
        settings: of the loop.
        run: keeps the choices at most every 20 seconds; goes on from them.
        progress: advances with every iteration.
    """
    learning = _Learning(unit, roundings, fixed, rows, settings)
    start = learning.start()
    about = {"steps": settings.iterations, "noted": lambda before, after: progress.advance()}
    state = in_steps(run, STATE, {"unit": unit.path}, start, learning.step, **about)
    alphas = learning.parts(state.alpha)
    hard = {name: one.hardened(alphas[name]) for name, one in roundings.items()}
    near = {name: one.hardened(one.share - 0.5) for name, one in roundings.items()}
    losses = [unit_loss(unit, {**fixed, **learning.unpacked(terms)}, judged) for terms in (hard, near)]
    share = float(sum(undecided(one) for one in alphas.values())) / max(1, state.alpha.numel())
    return Reconstructed(hard if losses[0] < losses[1] else near, min(losses), losses[1], share)


@dataclass(frozen=True, eq=False)
class _Learning:
    unit: DenoiserUnit
    roundings: Mapping[str, SoftRounding]
    fixed: Mapping[str, Tensor]
    rows: UnitRows
    settings: Reconstruction

    @property
    def device(self) -> torch.device:
        return next(iter(self.roundings.values())).below.device

    def start(self) -> _Choices:
        alpha = torch.cat([one.start().flatten() for one in self.roundings.values()])
        return _Choices(0, alpha, torch.zeros_like(alpha), torch.zeros_like(alpha))

    def parts(self, alpha: Float[Tensor, "n"]) -> dict[str, Tensor]:
        """The α of each weight."""
        sizes = [one.below.numel() for one in self.roundings.values()]
        pairs = zip(self.roundings.items(), alpha.split(sizes), strict=True)
        return {name: part.view(one.below.shape) for (name, one), part in pairs}

    def unpacked(self, terms: Mapping[str, Integers]) -> dict[str, Tensor]:
        """The weights that terms stand for, in the shapes of the module's."""
        return {name: self._shaped(name, term.unpack().to(self.device)) for name, term in terms.items()}

    def _shaped(self, name: str, matrix: Tensor) -> Tensor:
        return matrix.view(self.unit.layers[name].shape)

    def step(self, state: _Choices) -> _Choices:
        """One iteration."""
        at, alpha = state.step, state.alpha.detach().clone().requires_grad_()
        with torch.enable_grad():
            parts = self.parts(alpha)
            soft = {name: self._shaped(name, one.weight(parts[name])) for name, one in self.roundings.items()}
            given, named, targets = self.rows.take(self._drawn(at), self.device)
            loss = squared_error(self.unit({**self.fixed, **soft}, given, named), targets).mean()
            if (power := penalty_power(at, self.settings.iterations)) is not None:
                loss = loss + self.settings.penalty * indecision(alpha, power)
            (gradient,) = torch.autograd.grad(loss, alpha)
        mean = MEAN * state.mean + (1 - MEAN) * gradient
        square = SQUARE * state.square + (1 - SQUARE) * gradient.square()
        size = (square / (1 - SQUARE ** (at + 1))).sqrt() + FLOOR
        moved = alpha.detach() - self.settings.rate * mean / (1 - MEAN ** (at + 1)) / size
        return _Choices(at + 1, moved, mean, square)

    def _drawn(self, at: int) -> Tensor:
        """The rows of an iteration."""
        source = generator(self.settings.seed, "reconstruction", self.unit.path, at)
        return torch.randperm(len(self.rows), generator=source)[: self.settings.batch]


def penalty_power(at: int, iterations: int) -> float | None:
    """β of an iteration, counted from 0; None in the first fifth, which has no penalty."""
    begin = WARM_UP * iterations
    if at < begin:
        return None
    return LAST_POWER + (FIRST_POWER - LAST_POWER) * (1 - (at - begin) / (iterations - begin))


def squared_error(found: Float[Tensor, "k *shape"], wanted: Float[Tensor, "k *shape"]) -> Float[Tensor, "k"]:
    """Of each row, the mean over positions of the sum over channels of squared differences."""
    channels = 1 if found.dim() == 4 else -1
    return (found - wanted).square().sum(channels).flatten(1).mean(1) if found.dim() > 2 else _flat(found, wanted)


def _flat(found: Tensor, wanted: Tensor) -> Tensor:
    return (found - wanted).square().sum(-1)


@torch.no_grad()
def unit_loss(unit: DenoiserUnit, weights: Mapping[str, Tensor], rows: UnitRows) -> float:
    """The mean error of a unit's output under these weights, over all rows."""
    device, total = next(iter(weights.values())).device, 0.0
    for part in torch.arange(len(rows)).split(CHUNK):
        given, named, targets = rows.take(part, device)
        total += float(squared_error(unit(weights, given, named), targets).double().sum())
    return total / len(rows)
