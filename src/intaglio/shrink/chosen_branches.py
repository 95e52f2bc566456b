"""`Chosen`: units of a denoiser that are removed for a budget, one after the other, and what each of them counts."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.removed_branches import without_branch
from intaglio.randomness import generator_32bit
from intaglio.runs.run import Run
from intaglio.runs.tensors import damaged
from intaglio.shrink.branch_order import Branches
from intaglio.shrink.calibration_states import CalibrationStates

Order = Literal["contribution", "magnitude", "random"]
STATE = "contributions"
"""Name of the run's state, in which every measured contribution is."""
EVERY_S = 20.0
"""Seconds between two saved states."""


@dataclass(frozen=True)
class Chosen:
    """Units that are removed."""

    removed: list[str]
    """In the order of their removal."""
    share: float
    """Of the denoiser's numbers that is left."""
    first: list[dict[str, Any]]
    """Of every unit, in the order of execution: `unit`, `numbers` and `contribution` before any removal; none where
    contributions were not asked for."""
    last: dict[str, float]
    """Contributions of the units that could be removed and were not, when the last one was."""

    def shares(self, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """1/(1 + c/mean c) for each weight of a unit whose contribution c is known."""
        if not self.last or (mean := sum(self.last.values()) / len(self.last)) == 0:
            return {}
        units = {name: 1 / (1 + c / mean) for name, c in self.last.items()}
        return {weight: share for weight in weights for name, share in units.items() if weight.startswith(f"{name}.")}


def chosen(
    model: LatentDiffusion,
    units: Branches,
    allowed: Sequence[str],
    probes: CalibrationStates,
    budget: float,
    order: Order,
    batch: int,
    seed: int,
    run: Run,
) -> Chosen:
    """Removes allowed units until at most the budget is left; the model is left as it was.

    Args:
        model: whose units they are.
        units: all of them.
        allowed: those that may be removed, enough for the budget.
        probes: rows by which contributions are measured, `batch` at once.
        budget: share of the numbers that is left at most.
        order: of removal.
        batch: rows at once.
        seed: of a drawn order.
        run: keeps the contributions.
    """
    measured = _Contributions(model, probes, batch, run)
    removed, left, first, others = list[str](), units.total, list[dict[str, Any]](), dict[str, float]()
    fixed = [] if order == "contribution" else _fixed_order(model, allowed, order, seed)
    while left > budget * units.total:
        if order == "contribution":
            asked = [name for name in allowed if name not in removed] if removed else list(units.names)
            scores = measured.of(removed, asked)
            first = first or [{"unit": k, "numbers": units.numbers[k], "contribution": c} for k, c in scores.items()]
            others = {name: scores[name] for name in allowed if name not in removed}
            least = min(others, key=others.__getitem__)
            del others[least]
        else:
            least = fixed[len(removed)]
        removed.append(least)
        left -= units.numbers[least]
    return Chosen(removed, left / units.total, first, others)


def _fixed_order(model: LatentDiffusion, allowed: Sequence[str], order: Order, seed: int) -> list[str]:
    """Least mean absolute weight first, or a drawn order."""
    if order == "random":
        drawn = torch.randperm(len(allowed), generator=generator_32bit(seed, "order of removal"))
        return [allowed[int(k)] for k in drawn.tolist()]

    def size(name: str) -> float:
        weights = [w for key, w in model.denoiser.get_submodule(name).named_parameters() if "shortcut" not in key]
        return float(torch.cat([w.detach().flatten() for w in weights]).abs().mean())

    return sorted(allowed, key=size)


class _Contributions:
    """Relative changes of predictions on the probes, each measured once and kept by the run."""

    def __init__(self, model: LatentDiffusion, probes: CalibrationStates, batch: int, run: Run):
        self._model, self._probes, self._batch, self._run = model, probes, batch, run
        self._known: dict[str, float] = {}
        if (known := run.load_state(STATE)) is not None:
            stored = known[1]["known"]
            if not (isinstance(stored, dict) and all(isinstance(one, float) for one in stored.values())):
                raise damaged(known[1].path)
            self._known.update(stored)
        self._whole: Float[Tensor, "m c h w"] | None = None

    def of(self, removed: Sequence[str], asked: Sequence[str]) -> dict[str, float]:
        """Contribution of each unit, on top of those that are removed, in the order asked."""
        keys = {name: " ".join([*removed, name]) for name in asked}
        done = sum(key in self._known for key in keys.values())
        with self._run.progress(len(asked), f"{STATE}, removal {len(removed) + 1}", done) as progress:
            for name, key in keys.items():
                if key not in self._known:
                    self._known[key] = self._measured([*removed, name])
                    last = name == asked[-1]
                    self._run.save_state(STATE, {}, {"known": self._known}, every_s=0 if last else EVERY_S)
                    progress.advance()
        return {name: self._known[key] for name, key in keys.items()}

    def _measured(self, removed: Sequence[str]) -> float:
        """|ε_u - ε|/|ε| over all probes, without these units."""
        if self._whole is None:
            self._whole = torch.cat(list(self._predicted()))
        with ExitStack() as stack:
            for name in removed:
                stack.enter_context(without_branch(self._model.denoiser, name))
            found = torch.cat(list(self._predicted()))
        return float((found - self._whole).double().norm() / self._whole.double().norm())

    def _predicted(self) -> Iterator[Tensor]:
        with torch.no_grad(), self._model.frozen():
            for one in self._probes.batches(self._model, self._batch):
                yield self._model.predict(*one).cpu()
