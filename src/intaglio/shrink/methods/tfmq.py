"""TFMQ: the time path is made smaller by itself, so that what blocks are given of the time stays what it was."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from intaglio.errors import BadInput, require
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.shrink.calibration_states import CalibrationStates
from intaglio.shrink.time_path import NAME, grid_times, reads_more_than_time, time_rows, time_unit, without_time
from intaglio.shrink.unit_by_unit import UnitShrinker
from intaglio.shrink.unit_rows import UnitRows
from intaglio.shrink.units import DenoiserUnit, denoiser_units


@dataclass(frozen=True, kw_only=True)
class TFMQ(UnitShrinker):
    """TFMQ: learned roundings of the whole time path first, on times alone, then of the other units.

    Residual block i is given h_i(t) = E_i·silu(MLP(φ(t))), which depends on the timestep t only. The roundings of MLP
    and all E_i are learned together on Σ_i‖h_i(t) - ĥ_i(t)‖² over a grid of times (TIAR), without pictures; times
    midway between those of the grid judge them. The residual blocks are then reconstructed without their E_i, and all
    other units as in Q-Diffusion, with the same grids and loss. A denoiser that adds something else to the embedding
    of the time, as SDXL does the pooled prompt, is refused.

    Source: arXiv 2311.16503. Its scales of activations for each step are no part of this: activations keep full
    precision. Nor is a stored table of h_i(t), which would hold for one grid of steps alone.
    """

    bench: ClassVar[Sequence[Mapping[str, Any]]] = ({"bits": 4}, {"bits": 2})

    grid: int = 50
    """Times that the time path is learned at, evenly spread over all, 2 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.grid >= 2, f"grid must be 2 or more, not {self.grid}")

    def check(self, model: LatentDiffusion, base: LatentDiffusion | None = None) -> None:
        """Raises `BadInput` also for a model whose time path depends on more than the time."""
        super().check(model, base)
        if (setting := reads_more_than_time(model)) is not None:
            raise BadInput(
                f"the denoiser of {model.name} adds more than the time to its time embedding ({setting}), so that it "
                "is no function of the time; use qdiffusion"
            )

    def units(self, model: LatentDiffusion) -> list[DenoiserUnit]:
        """The time path, then the others without it."""
        path = time_unit(model)
        held = {layer.name for layer in path.layers.values()}
        others = [without_time(unit) for unit in denoiser_units(model)]
        return [path, *(one for one in others if not {layer.name for layer in one.layers.values()} & held)]

    def rows_of(
        self,
        unit: DenoiserUnit,
        model: LatentDiffusion,
        partly: LatentDiffusion,
        rows: tuple[CalibrationStates, CalibrationStates],
    ) -> tuple[UnitRows, UnitRows]:
        """Of the time path, times; of others, as of every method."""
        if unit.path != NAME:
            return super().rows_of(unit, model, partly, rows)
        learned, judging = grid_times(self.grid, model.schedule.count)
        return time_rows(model, learned), time_rows(model, judging)
