"""THOR: a Gaussian process for each family of layers, summed over a model, corrected by whole networks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from intaglio.energy.family import EnergyEstimator, Predictor
from intaglio.energy.layers.layer import LayerFamily, SizedLayer, Step
from intaglio.energy.processes.family_process import (
    FamilyFit,
    FamilyPoints,
    FamilyProcess,
    family_process,
    known_process,
)
from intaglio.energy.profile.energy_profile import EnergyProfile, ProfiledFamily
from intaglio.energy.profile.fallback import Fallback
from intaglio.energy.profile.sum_correction import SumCorrection, WholeCost
from intaglio.energy.step_estimate import StepEstimate
from intaglio.errors import BadInput

FARTHEST = 2.0
"""Factor beyond measured bounds up to which a layer's cost is scaled by its work; farther ones are not covered."""
BEYOND_VARIANCE = 4.0
"""Factor of the variance of costs beyond the bounds."""


@dataclass(frozen=True)
class Thor(EnergyEstimator):
    """THOR: one Gaussian process for each family of layers, whose costs add up to a model's.

    The cost of a step is κ Σ mᵢ Eₖ(xᵢ) over its layers i, called mᵢ times, with sizes xᵢ in family k, and what a step
    and each pass of a layer cost beside that. Each Eₖ is a
    Matérn 5/2 process over logarithms of sizes, rounded up to the tiles of kernels that the measurements speak for, of
    what the logarithm of the cost has beyond a share of that of the layer's work. The variance of the sum is wᵀ S w
    with the joint posterior covariance S of each family, so that the errors of equal layers add up and do not average
    out; κ and its spread come from measured networks. A layer up to 2 times beyond the measured sizes is scaled by its
    operations or bytes with 4 times the variance; what lies farther, or was never profiled, is taken by the device's
    cost of an operation or byte, lowers `coverage` and widens the interval.

    Source: arXiv 2501.16397. The paper takes plain costs by plain channels (`--paper`); logarithms, tiles, correction
    and intervals are ours.
    """

    paper: bool = False
    """Processes of plain costs by plain sizes, without tiles and correction, as in the paper."""

    wants: ClassVar[tuple[str, ...]] = ("layers", "networks")

    def __call__(self, profile: EnergyProfile) -> Predictor:
        """Fits every family of a profile. Raises `BadInput` where it has none."""
        if not profile.families:
            raise BadInput("the profile has no measured layers; make one with intaglio energy profile")
        costs, times = {}, {}
        for found in profile.families:
            if (process := self._process(found, found.points, found.fit)) is not None:
                costs[found.family] = process
            if (process := self._process(found, found.time_points, found.time_fit)) is not None:
                times[found.family] = process
        fallback = Fallback.of(profile)
        accuracy = float(profile.meter.get("relative_sd", 0.05))
        plain = _Sum(profile, costs, times, fallback, SumCorrection(), SumCorrection(), accuracy)
        if self.paper or not profile.calibration:
            return plain
        summed = {network: plain(network.step) for network in profile.calibration}
        steps = {network: (network.step.passes, network.step.steps) for network in summed}
        amounts = [WholeCost(network.amount, told.amount, *steps[network]) for network, told in summed.items()]
        spans = [WholeCost(network.seconds, told.seconds, *steps[network]) for network, told in summed.items()]
        corrections = SumCorrection.of(amounts), SumCorrection.of(spans)
        return _Sum(profile, costs, times, fallback, *corrections, accuracy)

    def _process(self, found: ProfiledFamily, points: FamilyPoints, fit: FamilyFit | None) -> FamilyProcess | None:
        """The process of a family; None where all its costs are below what the meter resolves."""
        if not len(points.resolved.costs):
            return None
        if fit is not None and not self.paper:
            return known_process(points, found.low, found.high, fit)
        return family_process(points, found.low, found.high, paper=self.paper)


@dataclass(frozen=True, eq=False)
class _Sum:
    """The sum over a step's layers."""

    profile: EnergyProfile
    costs: Mapping[LayerFamily, FamilyProcess]
    times: Mapping[LayerFamily, FamilyProcess]
    fallback: Fallback
    correction: SumCorrection
    time_correction: SumCorrection
    accuracy: float
    """Relative standard deviation of the meter's own scale."""

    def __call__(self, step: Step) -> StepEstimate:
        parts: dict[str, float] = {}
        total = covered = variance = seconds = guessed_sd = 0.0
        warnings, unknown = list(step.notes), set[str]()
        for family in sorted(step.families):
            layers = {layer: calls for layer, calls in step.layers.items() if layer.family == family}
            amount, spread, inside = self._of_family(family, layers)
            if inside < amount:
                unknown.add(str(family))
            parts[str(family)] = amount
            total, covered, variance = total + amount, covered + inside, variance + spread
            guessed_sd += self.fallback.relative_sd * (amount - inside)
            seconds += self._seconds(family, layers)
        for name, numbers in step.unparsed.items():
            amount = self.fallback.of_numbers(numbers)
            parts[name], total = amount, total + amount
            guessed_sd += self.fallback.relative_sd * amount
            unknown.add(name)
        if unknown:
            warnings.append(
                f"not covered by the profile, and taken by operations and bytes: {'; '.join(sorted(unknown))}"
            )
        amount = self.correction(total, step.passes, step.steps)
        sd = np.sqrt(
            (self.correction.factor**2) * (variance + guessed_sd**2)
            + (self.correction.relative_sd * amount) ** 2
            + (self.accuracy * amount) ** 2
        )
        return StepEstimate(
            amount=amount,
            sd=float(sd),
            seconds=self.time_correction(seconds, step.passes, step.steps),
            unit=self.profile.unit,
            provenance=self.profile.provenance,
            coverage=covered / total if total else 0.0,
            parts=parts,
            correction=self.correction.factor,
            warnings=tuple(dict.fromkeys(warnings)),
        )

    def _of_family(self, family: LayerFamily, layers: Mapping[SizedLayer, int]) -> tuple[float, float, float]:
        """Amount of a family, its variance, and the part of the amount that measurements cover."""
        process, found = self.costs.get(family), self.profile.of(family)
        if process is None and found is not None:
            return 0.0, 0.0, 0.0  # below what the meter resolves
        near, far = {}, {}
        for layer, calls in layers.items():
            inside = process is not None and process.scale.excess(np.array([layer.sizes], np.int64))[0] <= FARTHEST
            (near if inside else far)[layer] = calls
        guessed = sum(calls * self.fallback(layer) for layer, calls in far.items())
        if process is None or not near:
            return guessed, 0.0, 0.0
        amount, variance = _weighted(process, near)
        return amount + guessed, variance, amount

    def _seconds(self, family: LayerFamily, layers: Mapping[SizedLayer, int]) -> float:
        process = self.times.get(family)
        if process is not None:
            return _weighted(process, layers)[0]
        if self.profile.of(family) is not None:
            return 0.0
        return sum(calls * self.fallback.seconds(layer) for layer, calls in layers.items())


def _weighted(process: FamilyProcess, layers: Mapping[SizedLayer, int]) -> tuple[float, float]:
    """Sum of calls times costs, and its variance, with costs beyond the bounds scaled by the work."""
    sizes = np.array([layer.sizes for layer in layers], np.int64).reshape(len(layers), -1)
    clamped = process.scale.clamped(sizes)
    work = np.array([layer.work / layer.at(row).work for layer, row in zip(layers, clamped.tolist(), strict=True)])
    cost, covariance = process.joint(sizes)
    weights = np.array(list(layers.values())) * work
    beyond = np.where((clamped == sizes).all(1), 1.0, np.sqrt(BEYOND_VARIANCE))
    return float(weights @ cost), float((weights * beyond) @ covariance @ (weights * beyond))
