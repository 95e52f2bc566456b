"""`ChosenWidths`: the units of every hidden width that a model keeps under a budget of energy."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from intaglio.energy.family import Predictor
from intaglio.energy.layers.layer import Step
from intaglio.energy.pruning.call_budget import CallBudget
from intaglio.energy.pruning.channel_choice import WidthLadder, chosen_levels, falling_levels
from intaglio.energy.pruning.importance import Importances
from intaglio.energy.pruning.width_costs import WidthSteps
from intaglio.energy.step_estimate import StepEstimate
from intaglio.errors import BadInput
from intaglio.models.diffusion.hidden_widths import narrow
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

By = Literal["energy", "flops", "parameters"]
"""Measure that importance is weighed against: estimated energy, or the operations or weights of the layers."""


@dataclass(frozen=True, eq=False)
class ChosenWidths:
    """Units that are kept, with the estimates of a call before and after."""

    kept: Mapping[str, tuple[int, ...]]
    """Rising indices of the units that each scope keeps."""
    units: Mapping[str, int]
    """Units of each scope before."""
    before: StepEstimate
    after: StepEstimate

    @property
    def ratio(self) -> float:
        """The estimated cost after over that before."""
        return self.after.amount / self.before.amount

    def figures(self) -> dict[str, Any]:
        """Plain values: the units of every scope, and the estimates."""
        return {
            "kept": {scope: list(units) for scope, units in self.kept.items()},
            "units": dict(self.units),
            "before": _estimate_figures(self.before),
            "after": _estimate_figures(self.after),
            "ratio": self.ratio,
        }


def pruned(model: LatentDiffusion, kept: Mapping[str, Sequence[int]]) -> LatentDiffusion:
    """A copy of a model that keeps these units alone of each scope, by their rising indices."""
    found = model.copy()
    for scope, units in kept.items():
        narrow(found.denoiser, scope, units)
    return found


def chosen_widths(
    steps: WidthSteps, importances: Importances, predict: Predictor, budget: CallBudget, by: By
) -> ChosenWidths:
    """The units that stay where the estimate of a call is within a budget, of each width the most important ones.

    Args:
        steps: a call's work by its widths.
        importances: of the units of every scope.
        predict: the cost of a step.
        budget: of a call.
        by: what importance is weighed against.

    Raises:
        BadInput: all widths at their least cost more than the budget.
    """
    measures: dict[By, Callable[[Step], float]] = {
        "energy": lambda step: predict(step).amount,
        "flops": lambda step: step.flops,
        "parameters": lambda step: float(step.parameters),
    }
    before = predict(steps.whole({}))
    check_reachable(steps, predict, budget)
    costs = steps.costs(measures[by])
    ladders = {
        scope: WidthLadder(costs[scope], tuple(_lost(importances[scope], kept) for kept in steps.units[scope]))
        for scope in steps.units
    }
    levels = chosen_levels(ladders, lambda found: budget.holds(predict(steps.whole(found)), before))
    if levels is None:
        raise BadInput(_refusal(predict(steps.whole(falling_levels(ladders)[-1])), before, budget))
    kept = {scope: _most_important(importances[scope], steps.units[scope][level]) for scope, level in levels.items()}
    units = {scope: counts[0] for scope, counts in steps.units.items()}
    return ChosenWidths(kept, units, before, predict(steps.whole(levels)))


def check_reachable(steps: WidthSteps, predict: Predictor, budget: CallBudget) -> None:
    """Raises `BadInput` where a call costs more than its budget with every width at its least."""
    before = predict(steps.whole({}))
    least = predict(steps.whole({scope: len(counts) - 1 for scope, counts in steps.units.items()}))
    if not budget.holds(least, before):
        raise BadInput(_refusal(least, before, budget))


def _estimate_figures(one: StepEstimate) -> dict[str, Any]:
    low, high = one.interval
    found = {"amount": one.amount, "interval_95": [low, high], "unit": one.unit, "seconds": one.seconds}
    return {**found, "provenance": one.provenance, "coverage": one.coverage}


def _lost(importance: torch.Tensor, kept: int) -> float:
    """Importance of all units but the most important ones."""
    return float(importance.sort().values[: len(importance) - kept].sum())


def _most_important(importance: torch.Tensor, count: int) -> tuple[int, ...]:
    """Indices of the most important units, rising; of equal ones the first."""
    order = torch.argsort(importance, descending=True, stable=True)[:count]
    return tuple(sorted(order.tolist()))


def _refusal(least: StepEstimate, before: StepEstimate, budget: CallBudget) -> str:
    bound, expected = least.interval[1] / before.interval[1], least.amount / before.amount
    share = math.ceil(1000 * max(bound, expected)) / 1000
    return (
        f"with every width at its least a call still takes {least.amount:.3g} {least.unit}, {expected:.1%} of the "
        f"{before.amount:.3g} of now, and at most {least.interval[1]:.3g} with 95%, {bound:.1%} of the "
        f"{before.interval[1]:.3g} of now; the budget is at most {budget.limit(before):.3g}: give {share:.1%} or more, "
        "or a smaller --least"
    )
