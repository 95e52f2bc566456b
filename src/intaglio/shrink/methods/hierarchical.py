"""HierarchicalPrune: late blocks whose branches count least are removed, the rest is trained by its sensitivity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from intaglio.errors import BadInput, require
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.removed_branches import removable, remove_branches
from intaglio.runs.run import Run
from intaglio.shrink.branch_order import Branches, branches_of, owner
from intaglio.shrink.calibration_states import CalibrationStates
from intaglio.shrink.chosen_branches import STATE as CHOICE
from intaglio.shrink.chosen_branches import Chosen, Order, chosen
from intaglio.shrink.family import ShrinkPlan
from intaglio.shrink.heal import STATE, Healing
from intaglio.shrink.healing_settings import BENCH, HealingSettings
from intaglio.shrink.shrunk import Shrunk, shrunk


@dataclass(frozen=True, kw_only=True)
class HierarchicalPrune(HealingSettings):
    """HierarchicalPrune: removes late branches of least contribution, and trains the rest.

    The contribution of a unit, a residual block or a branch of a transformer block, is |ε_u - ε|/|ε|: the change of the
    prediction where its branch gives zeros. Of the units in the last `late_only` share of the order of execution that
    of least contribution is removed, and the others are scored again, since contributions do not add up, until at most
    `budget` of the denoiser's numbers is left. What runs before the first removed unit is then frozen, and a unit of
    contribution c learns at 1/(1 + c/mean c) of the rate. A prediction takes fewer multiplications, and the weights
    that are left are stored in half precision; the U-Net's config names the removed modules, by which this software
    alone reads it. It can be made smaller again, by another method too. That late blocks count least was found for
    transformers, and is not so in a U-Net, whose last blocks carry the output: of the embedded model the innermost
    units count least, and those at both ends most. See the contributions on the run's page, and `late_only` 1.

    Source: arXiv 2508.04663, for transformers; units of a U-Net, and scores by predictions in place of a judge of
    pictures, are this software's.
    """

    kind: ClassVar[Literal["quantise", "prune"]] = "prune"
    structural: ClassVar[bool] = True
    cheaper: ClassVar[Mapping[str, Any]] = MappingProxyType({"probes": 1})
    bench: ClassVar[Sequence[Mapping[str, Any]]] = ({**BENCH}, {**BENCH, "order": "random"})

    keep: tuple[str, ...] = ()
    """Units that are never removed, by the names of their modules, or of those around them."""
    budget: float = 0.75
    """Share of the denoiser's numbers that is left at most, above 0 and below 1."""
    late_only: float = 0.5
    """Share of the units, the last ones in the order of execution, that may be removed; above 0, and 1 at most."""
    order: Order = "contribution"
    """Order of removal: least contribution first; or, to compare it with, least mean absolute weight; or drawn."""
    probes: int = 32
    """Calibration rows by which contributions are measured, at least 1."""
    rates: Literal["sensitivity", "equal"] = "sensitivity"
    """Learning rates of the training: by contribution, which the other orders do not measure; or all alike."""
    freeze: bool = True
    """Whether what runs before the first removed unit is left as it is."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.budget < 1, f"budget must be above 0 and below 1, not {self.budget}")
        require(0 < self.late_only <= 1, f"late_only must be above 0, and 1 at most, not {self.late_only}")
        require(self.probes >= 1, f"probes must be at least 1, not {self.probes}")

    def check(self, model: LatentDiffusion, base: LatentDiffusion | None = None) -> None:
        """Raises `BadInput` also for a model that has too few units for the budget."""
        super().check(model, base)
        units = removable(model.denoiser)
        if not units:
            raise BadInput(f"the denoiser of {model.name} has no unit that could be removed; use another method")

    def planned(self, model: LatentDiffusion, rows: int) -> ShrinkPlan:
        """Bytes before and at most after, and about as many rows through the network as it will take."""
        numbers = sum(weight.numel() for weight in model.denoiser.state_dict().values())
        asked = self.scored_rows(model) + self.training_rows(rows)
        return ShrinkPlan(2 * numbers, round(2 * self.budget * numbers), asked)

    def scored_rows(self, model: LatentDiffusion) -> int:
        """Rows by which the contributions of units are told."""
        if self.order != "contribution":
            return 0
        units = len(removable(model.denoiser))
        late, cuts = round(self.late_only * units), round((1 - self.budget) * units)
        return self.probes * (units + sum(max(0, late - k) for k in range(1, cuts)))

    def __call__(
        self,
        model: LatentDiffusion,
        calibration: CalibrationStates | None = None,
        *,
        base: LatentDiffusion | None = None,
        run: Run = Run.none(),
    ) -> Shrunk:
        """The smaller model; errors as of `Shrinker`, and `IntaglioError` for a loss that is not finite.

        Raises `BadInput` also where all units that may be removed are too few for the budget.
        """
        self.check(model, base)
        rows = self.learned(model, calibration)
        units = branches_of(model, rows)
        found = self._chosen(model, rows, units, run)
        student = model.copy()
        remove_branches(student.denoiser, found.removed)
        weights = {
            name: weight
            for name, weight in student.denoiser.named_parameters()
            if not (self.freeze and units.runs_before(owner(name), found.removed))
        }
        shares = found.shares(weights) if self.rates == "sensitivity" else {}
        figures = Healing(model, student, rows, self, weights, shares)(run)
        facts = {"removed": found.removed, "contributions": found.first, "share": found.share, "healing": figures}
        small = shrunk(model, {"denoiser": {}}, self.packing(model), healed=student)
        return replace(small, states=(CHOICE, STATE), facts=facts)

    def _chosen(self, model: LatentDiffusion, rows: CalibrationStates, units: Branches, run: Run) -> Chosen:
        """The units to remove."""
        late = units.names[len(units.names) - max(1, round(self.late_only * len(units.names))) :]
        allowed = [name for name in late if not any(f"{name}.".startswith(f"{kept}.") for kept in self.keep)]
        left = 1 - sum(units.numbers[name] for name in allowed) / units.total
        if left > self.budget:
            raise BadInput(
                f"the {len(allowed)} units of {model.name} that may be removed leave {left:.0%} of its numbers, and "
                f"budget is {self.budget:.0%}; raise budget or late_only"
            )
        probes = rows.first(self.probes)
        return chosen(model, units, allowed, probes, self.budget, self.order, self.batch, self.seed, run)
