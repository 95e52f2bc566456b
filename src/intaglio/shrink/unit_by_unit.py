"""`UnitShrinker`: methods that learn the roundings of one unit of the denoiser after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar, Literal

import torch

from intaglio.errors import require
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.packing.packed_weight import PackedWeight
from intaglio.runs.progress import Progress
from intaglio.runs.run import Run
from intaglio.runs.steps import stored_steps
from intaglio.sampling.calls import Calls
from intaglio.sampling.plan import planned_seconds
from intaglio.shrink.calibration_states import CalibrationStates
from intaglio.shrink.code_grid import CodeGrid, grid_of
from intaglio.shrink.family import TIMED_ROWS, Shrinker, ShrinkPlan
from intaglio.shrink.layers import KEPT_BITS, WeightLayer, kept_apart, weight_layers
from intaglio.shrink.quantiser import group_of, kept_finer
from intaglio.shrink.reconstruct import STATE, Reconstruction, reconstruct
from intaglio.shrink.rounding import SoftRounding
from intaglio.shrink.shrunk import Shrunk, shrunk
from intaglio.shrink.skip_halves import skip_groups
from intaglio.shrink.stored_sizes import sizes
from intaglio.shrink.trial_steps import trial_rows, trial_seconds
from intaglio.shrink.unit_codes import UnitCodes, remarks, state_of, store_codes, stored_codes
from intaglio.shrink.unit_rows import UnitRows, unit_rows
from intaglio.shrink.units import DenoiserUnit, denoiser_units


@dataclass(frozen=True, kw_only=True)
class UnitShrinker(Shrinker):
    """A method that learns, for each weight, whether the code below or above it serves the output of its unit best."""

    kind: ClassVar[Literal["quantise", "prune"]] = "quantise"
    calibrated: ClassVar[bool] = True
    bench: ClassVar[Sequence[Mapping[str, Any]]] = ({"bits": 4},)

    bits: int = 4
    """Bits of a code, 2 to 8."""
    symmetric: bool = False
    """Codes symmetric about zero, rather than between the least and the largest weight of a row."""
    group: int = 0
    """Columns of a row that share a scale, 0 for all; a layer whose columns it does not divide has one a row."""
    split: bool = True
    """In layers that take a skip connection beside other features, no scale is shared between the two."""
    iterations: int = 1000
    """Steps of each unit's learning, 1 or more."""
    batch: int = 8
    """Rows of a step, 1 or more."""
    rate: float = 0.04
    """Learning rate of Adam, above 0."""
    penalty: float = 0.01
    """Weight of the penalty on choices that are not made, above 0; it is beside a sum over channels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.parts == ("denoiser",), "parts must be denoiser: only its units are reconstructed")
        require(2 <= self.bits <= 8, f"bits must be 2 to 8, not {self.bits}")
        require(self.group >= 0, f"group must be 0 or more, not {self.group}")
        for name in ("iterations", "batch"):
            require(getattr(self, name) >= 1, f"{name} must be 1 or more, not {getattr(self, name)}")
        for name in ("rate", "penalty"):
            value = getattr(self, name)
            require(0 < value < float("inf"), f"{name} must be above 0 and finite, not {value}")

    def units(self, model: LatentDiffusion) -> list[DenoiserUnit]:
        """The units, in the order in which they are learned; no layer is in two."""
        return denoiser_units(model)

    def rows_of(
        self,
        unit: DenoiserUnit,
        model: LatentDiffusion,
        partly: LatentDiffusion,
        rows: tuple[CalibrationStates, CalibrationStates],
    ) -> tuple[UnitRows, UnitRows]:
        """Rows to learn from, and to judge: arguments from the partly shrunk model, outputs from the full one."""
        learned, judging = (unit_rows(model, partly, unit.path, part) for part in rows)
        return learned, judging

    def groups(self, model: LatentDiffusion) -> dict[str, int]:
        """Columns that share a scale in each layer, by the names of weights; 0 for all of a row."""
        halves = skip_groups(model.denoiser) if self.split else {}
        found = {}
        for layer in weight_layers(model):
            half = halves.get(layer.path, 0) * prod(getattr(layer.module, "kernel_size", ()))
            found[layer.name] = self.group if half == 0 or (self.group and half % self.group == 0) else half
        return found

    def planned(self, model: LatentDiffusion, rows: int) -> ShrinkPlan:
        """Bytes before and after; of the rows, those up to each unit, and three for each row of an iteration."""
        groups = self.groups(model)

        def bits(layer: WeightLayer) -> float:
            if kept_apart(layer, self.keep):
                return KEPT_BITS + 16 / layer.columns
            return self.bits + (16 if self.symmetric else 24) / group_of(layer.columns, groups[layer.name])

        before, after = sizes(model, self.parts, bits)
        passes = sum(len(self._learned(unit)) > 0 for unit in self.units(model))
        return ShrinkPlan(before, after, passes * rows + 3 * self.iterations * self.batch)

    def seconds(self, model: LatentDiffusion, rows: int) -> float:
        """Seconds of the passes up to each unit, and of its learning, from a few steps of all units."""
        passes = sum(len(self._learned(unit)) > 0 for unit in self.units(model))
        more = Calls(forward=passes * max(0, rows - trial_rows(self.batch)))
        tried = trial_seconds(self, model, self.batch, {self.name: "iterations"})
        return tried + planned_seconds(more, model, TIMED_ROWS)

    def __call__(
        self,
        model: LatentDiffusion,
        calibration: CalibrationStates | None = None,
        *,
        base: LatentDiffusion | None = None,
        run: Run = Run.none(),
    ) -> Shrunk:
        """The smaller model; errors as of `Shrinker`."""
        self.check(model, base)
        partly, groups, rows = model.copy(), self.groups(model), self.given_rows(calibration).learned.parted
        units = self.units(partly)
        known = [stored_codes(run, place) for place in range(len(units))]
        steps, done = self._steps(units, known, run)
        found: list[tuple[DenoiserUnit, UnitCodes]] = []
        with run.progress(steps, self.name, done) as progress, model.frozen(), partly.frozen():
            for place, unit in enumerate(units):
                if (codes := known[place]) is None:
                    codes = self._codes(unit, groups, (model, partly), rows, run, progress)
                    store_codes(run, place, unit, codes)
                _put(partly, codes)
                found.append((unit, codes))
        return self._shrunk(model, groups, found)

    def _codes(
        self,
        unit: DenoiserUnit,
        groups: Mapping[str, int],
        models: tuple[LatentDiffusion, LatentDiffusion],
        rows: tuple[CalibrationStates, CalibrationStates],
        run: Run,
        progress: Progress,
    ) -> UnitCodes:
        """The codes of one unit: learned, but for layers that are kept finer."""
        kept = {name: kept_finer(layer) for name, layer in unit.layers.items() if kept_apart(layer, self.keep)}
        finer = {unit.layers[name].name: PackedWeight(unit.layers[name].shape, (term,)) for name, term in kept.items()}
        if not (learned := self._learned(unit)):
            return UnitCodes(finer)
        device = models[0].device
        soft = {name: SoftRounding.of(one.matrix, self._grid(one, groups), device) for name, one in learned.items()}
        fixed = {name: finer[unit.layers[name].name].unpack().to(device) for name in kept}
        given, judged = self.rows_of(unit, *models, rows)
        about = Reconstruction(self.iterations, self.batch, self.rate, self.penalty, self.seed)
        found = reconstruct(unit, soft, fixed, given, judged, about, run=run, progress=progress)
        weights = {learned[name].name: PackedWeight(learned[name].shape, (one,)) for name, one in found.terms.items()}
        return UnitCodes({**finer, **weights}, found.undecided, found.loss < found.nearest)

    def _learned(self, unit: DenoiserUnit) -> dict[str, WeightLayer]:
        """The layers of a unit whose roundings are learned, by the names of their weights in it."""
        return {name: layer for name, layer in unit.layers.items() if not kept_apart(layer, self.keep)}

    def _grid(self, layer: WeightLayer, groups: Mapping[str, int]) -> CodeGrid:
        return grid_of(layer.matrix, self.bits, groups[layer.name], self.symmetric)

    def _steps(self, units: list[DenoiserUnit], known: list[UnitCodes | None], run: Run) -> tuple[int, int]:
        """Iterations of all units, and those that a run keeps."""
        learned = [unit for unit in units if self._learned(unit)]
        done = sum(self.iterations for unit, codes in zip(units, known, strict=True) if codes and unit in learned)
        current = next((unit for unit, codes in zip(units, known, strict=True) if not codes and unit in learned), None)
        begun = 0 if current is None else stored_steps(run, STATE, {"unit": current.path})
        return len(learned) * self.iterations, done + begun

    def _shrunk(
        self, model: LatentDiffusion, groups: Mapping[str, int], found: list[tuple[DenoiserUnit, UnitCodes]]
    ) -> Shrunk:
        packed = {name: weight for _, codes in found for name, weight in codes.weights.items()}
        for layer in weight_layers(model):
            if layer.name not in packed:  # one that a call does not run
                finer = kept_apart(layer, self.keep)
                term = kept_finer(layer) if finer else self._grid(layer, groups).nearest(layer.matrix)
                packed[layer.name] = PackedWeight(layer.shape, (term,))
        states = (STATE, *(state_of(place) for place in range(len(found))))
        result = shrunk(model, {"denoiser": packed}, self.packing(model))
        return replace(result, warnings=tuple(remarks(found)), states=states)


@torch.no_grad()
def _put(partly: LatentDiffusion, codes: UnitCodes) -> None:
    """Puts a unit's packed weights in the place of the model's own."""
    for name, weight in codes.weights.items():
        partly.denoiser.get_parameter(name).copy_(weight.unpack())
