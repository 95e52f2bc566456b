"""The family of energy estimators: from a device's profile to the cost of a step of a model, before it runs."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from intaglio.energy.layers.layer import Step
from intaglio.energy.profile.energy_profile import EnergyProfile
from intaglio.energy.step_estimate import StepEstimate
from intaglio.verbs import FileName

Predictor = Callable[[Step], StepEstimate]
"""The cost of any step, on the device of the profile that it was made from."""


@dataclass(frozen=True)
class EnergyEstimator(ABC):
    """A method that predicts what a step costs on a profiled device."""

    name: ClassVar[FileName] = FileName()
    role: ClassVar[Literal["method", "baseline"]] = "method"
    wants: ClassVar[tuple[str, ...]] = ("layers",)
    """Parts of a profile that it learns from: `layers`, `networks` or both."""

    @abstractmethod
    def __call__(self, profile: EnergyProfile) -> Predictor:
        """A predictor learnt from a profile. Raises `BadInput` where the profile lacks what the method wants."""
