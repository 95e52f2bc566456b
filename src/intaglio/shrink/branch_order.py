"""`Branches`: the units of a denoiser that can be removed, in the order in which they run, with their sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.removed_branches import removable, without_branch
from intaglio.shrink.calibration_states import CalibrationStates


@dataclass(frozen=True)
class Branches:
    """Units of a denoiser, whose branches can be removed."""

    names: tuple[str, ...]
    """Of their modules, in the order of execution."""
    numbers: dict[str, int]
    """Numbers that go with each of them."""
    total: int
    """Numbers of the denoiser."""
    places: dict[str, int]
    """Place of each module in the order of first calls; none for modules that were not called."""

    def runs_before(self, module: str, units: Sequence[str]) -> bool:
        """Whether a module is first called before all of these units."""
        first = min(self.places[name] for name in units)
        return module in self.places and self.places[module] < first


def branches_of(model: LatentDiffusion, rows: CalibrationStates) -> Branches:
    """The units of a model's denoiser, whose order is seen in a prediction of one of the rows."""
    denoiser, units = model.denoiser, removable(model.denoiser)
    places = _called(model, rows.first(1))
    total = _numbers(denoiser)
    numbers = {}
    for name in units:
        with without_branch(denoiser, name):
            numbers[name] = total - _numbers(denoiser)
    names = sorted((name for name in units if name in places), key=places.__getitem__)
    return Branches(tuple(names), numbers, total, places)


def owner(weight: str) -> str:
    """Name of the module that a weight is of."""
    return weight.rpartition(".")[0]


@torch.no_grad()
def _called(model: LatentDiffusion, row: CalibrationStates) -> dict[str, int]:
    """Places of the denoiser's modules in the order of their first calls."""
    places: dict[str, int] = {}

    def noted(name: str) -> Any:
        def note(module: nn.Module, given: Any) -> None:
            places.setdefault(name, len(places))

        return note

    hooks = [module.register_forward_pre_hook(noted(name)) for name, module in model.denoiser.named_modules()]
    try:
        with model.frozen():
            for batch in row.batches(model, 1):
                model.predict(*batch)
    finally:
        for hook in hooks:
            hook.remove()
    return places


def _numbers(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.state_dict().values())
