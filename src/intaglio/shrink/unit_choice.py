"""`UnitChoice`: which units of a block a picture needs, by their activations; what predictors are taught."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.predicted_units import FIRST, predicted_blocks, watched_units
from intaglio.shrink.calibration_states import CalibrationStates

Rule = Literal["mass", "uniform", "static"]


@dataclass(frozen=True)
class UnitChoice:
    """A rule by which units are kept.

    The score of a unit is the largest magnitude of its activations over the places of a picture, over the sum of all
    scores of its block: its share of the mass.
    """

    rule: Rule
    """mass: the fewest units whose mass reaches `rho`; uniform: so large a share of the units, those of most mass;
    static: as mass, by the mean mass over pictures, the same units for all."""
    rho: float
    """Share of the mass, or of the units, above 0; 1 or more keeps all."""

    def labels(self, masses: Float[Tensor, "n u"]) -> Bool[Tensor, "n u"]:
        """Whether each unit is kept; at least one of each row is."""
        if self.rho >= 1:
            return torch.ones_like(masses, dtype=torch.bool)
        order = masses.argsort(dim=1, descending=True, stable=True)
        if self.rule == "uniform":
            count = masses.shape[1]
            kept = (torch.arange(count, device=masses.device) < self.rho * count).expand_as(order)
        else:
            ordered = masses.double().gather(1, order)
            # What lies before a unit is short of rho: the unit that crosses it is kept.
            kept = ordered.cumsum(1) - ordered < self.rho
            kept[:, 0] = True
        return torch.zeros_like(kept).scatter(1, order, kept)


def masses_of(units: Float[Tensor, "n u *places"]) -> Float[Tensor, "n u"]:
    """Share of each unit in the mass of its row; 0 for a row of zeros."""
    scores = units.detach().float().abs().flatten(2).amax(2)
    return scores / scores.sum(1, keepdim=True).clamp(min=1e-12)


def fix_predictors(model: LatentDiffusion, choice: UnitChoice, rows: CalibrationStates, batch: int) -> None:
    """Lets every predictor of a denoiser give the same units for all pictures, by their mean mass over the rows."""
    sums = dict[str, Tensor]()
    with model.frozen(), watched_units(model.denoiser) as seen:
        for one in rows.batches(model, batch):
            model.predict(*one)
            for name, (units, _) in seen.items():
                found = masses_of(units).sum(0, keepdim=True)
                sums[name] = sums[name] + found if name in sums else found
    _fix(predicted_blocks(model.denoiser), {name: choice.labels(total / len(rows)) for name, total in sums.items()})


@torch.no_grad()
def _fix(blocks: Mapping[str, torch.nn.Module], labels: Mapping[str, Tensor]) -> None:
    for name, block in blocks.items():
        predictor = block.get_submodule("predictor")
        predictor.get_parameter("weight").zero_()
        predictor.get_parameter("bias").copy_(FIRST * (2 * labels[name][0].float() - 1))
