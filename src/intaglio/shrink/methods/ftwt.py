"""FTWT: small predictors choose for each picture which hidden units of a block are computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from intaglio.errors import BadInput, require
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.predicted_units import predict_units, predictable, predicted_blocks, predictor_numbers
from intaglio.runs.run import Run
from intaglio.shrink.calibration_states import CalibrationStates
from intaglio.shrink.family import ShrinkPlan
from intaglio.shrink.heal import STATE
from intaglio.shrink.heal_predicted import PredictedHealing
from intaglio.shrink.healing_settings import BENCH, HealingSettings
from intaglio.shrink.picture_costs import picture_costs
from intaglio.shrink.shrunk import Shrunk, shrunk
from intaglio.shrink.unit_choice import Rule, UnitChoice, fix_predictors


@dataclass(frozen=True, kw_only=True)
class FTWT(HealingSettings):
    """FTWT: predictors choose the hidden units that each picture computes, and the rest is trained.

    A block's predictor is one linear layer on the mean of the block's input over its places and, in a residual block,
    on the embedded time; a unit whose logit is above 0 is computed, and of each picture at least that of the largest.
    Units are those of feed-forward parts, of which both layers are left out, and the channels that the second
    convolution of a residual block takes, behind norm and activation, so that leaving some out changes no others. A
    predictor is taught which units have most of the mass of its picture: the score of a unit is max|activation| over
    places, and the fewest units whose scores make up `rho` of the sum are kept. That loss is the predictors' own
    (decoupled); they begin by keeping all. Calls of one picture compute the kept units alone; batches leave them out
    by a mask, which saves nothing, and gives each picture what it has alone. The file grows by the predictors, which
    this software alone reads. Measured figures tell multiplications and milliseconds of a picture, before and after.

    Source: Fire Together Wire Together (arXiv 2110.08232), for classifiers; the units of a U-Net, the time as an input
    and a first bias in place of a warm-up are this software's.
    """

    kind: ClassVar[Literal["quantise", "prune"]] = "prune"
    structural: ClassVar[bool] = True
    bench: ClassVar[Sequence[Mapping[str, Any]]] = ({**BENCH}, {**BENCH, "choice": "static"})

    keep: tuple[str, ...] = ()
    """Blocks that compute every unit, by the names of their modules, or of those around them."""
    rho: float = 0.9
    """Share of the mass that the kept units reach, or, with choice uniform, of the units; above 0, and 1 at most, which
    keeps all."""
    choice: Rule = "mass"
    """mass: of each picture the fewest units that reach rho; uniform: of each picture so large a share of the units;
    static: the same units for every picture, by their mean mass, to compare with."""
    predictor_rate: float = 0.1
    """Learning rate of the predictors, of plain gradient descent without decay, above 0."""
    learning: float = 0.5
    """Share of the steps, the first ones, in which predictors learn; above 0, and 1 at most."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.rho <= 1, f"rho must be above 0, and 1 at most, not {self.rho}")
        rate = self.predictor_rate
        require(0 < rate < float("inf"), f"predictor_rate must be above 0, and finite, not {rate}")
        require(0 < self.learning <= 1, f"learning must be above 0, and 1 at most, not {self.learning}")

    def check(self, model: LatentDiffusion, base: LatentDiffusion | None = None) -> None:
        """Raises `BadInput` also for a model without blocks that could have a predictor, or one that has some."""
        super().check(model, base)
        if found := predicted_blocks(model.denoiser):
            raise BadInput(f"{model.name} has predictors already, in {next(iter(found))} first; give it without them")
        if not self._scopes(model):
            raise BadInput(f"no block of {model.name} can have a predictor; give fewer names to keep, or another model")

    def _scopes(self, model: LatentDiffusion) -> list[str]:
        names = predictable(model.denoiser)
        return [name for name in names if not any(f"{name}.".startswith(f"{kept}.") for kept in self.keep)]

    def planned(self, model: LatentDiffusion, rows: int) -> ShrinkPlan:
        """Bytes before and after, which are more, and rows through the network in the training."""
        before = sum(weight.numel() for weight in model.denoiser.state_dict().values())
        more = predictor_numbers(model.denoiser, self._scopes(model))
        return ShrinkPlan(2 * before, 2 * (before + more), self.training_rows(rows))

    def __call__(
        self,
        model: LatentDiffusion,
        calibration: CalibrationStates | None = None,
        *,
        base: LatentDiffusion | None = None,
        run: Run = Run.none(),
    ) -> Shrunk:
        """The model with predictors; errors as of `Shrinker`, and `IntaglioError` for a loss that is not finite."""
        self.check(model, base)
        rows, student = self.learned(model, calibration), model.copy()
        predict_units(student.denoiser, self._scopes(model))
        choice, learning = UnitChoice(self.choice, self.rho), max(1, round(self.learning * self.steps))
        if self.choice == "static":
            fix_predictors(student, choice, rows, self.batch)
            learning = 0
        weights = dict(student.denoiser.named_parameters())
        # AdamW leaves the predictors alone; among the weights they are part of what a run keeps.
        shares = {name: 0.0 for name in weights if ".predictor." in name}
        figures = PredictedHealing(
            model, student, rows, self, weights, shares, choice=choice, rate=self.predictor_rate, learning=learning
        )(run)
        small = shrunk(model, {"denoiser": {}}, self.packing(model), healed=student)
        held = calibration.held if calibration is not None else rows
        costs = picture_costs(model, small.model, held, self.batch)
        return replace(small, states=(STATE,), facts={**costs, "healing": figures})
