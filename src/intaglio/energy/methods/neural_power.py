"""NeuralPower: sparse polynomials of layers' sizes for time and power, one pair a kind of layer."""

import warnings
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.energy.family import EnergyEstimator, Predictor
from intaglio.energy.layers.layer import SizedLayer, Step
from intaglio.energy.profile.energy_profile import EnergyProfile, layers_of
from intaglio.energy.profile.fallback import Fallback
from intaglio.energy.step_estimate import StepEstimate
from intaglio.errors import BadInput

FOLDS = 10
FEWEST = 4
"""Fewest points of a kind for its polynomials; kinds with fewer take the device's rates."""


@dataclass(frozen=True)
class NeuralPower(EnergyEstimator):
    """NeuralPower: time and power of a kind of layer by sparse polynomials of its sizes.

    Energy is their product.

    Terms up to `degree` in the sizes, with the layer's operations and bytes beside them, chosen by the Lasso with
    cross-validation in 10 parts. Sizes are scaled to their largest value.

    Source: arXiv 1710.05420, for inference of convolutional networks; here for every kind, forward or in training.
    """

    degree: int = 3
    """Largest degree of the polynomials, 1 to 4."""

    role: ClassVar[Literal["method", "baseline"]] = "baseline"

    def __post_init__(self) -> None:
        if not 1 <= self.degree <= 4:
            raise ValueError(f"degree must be 1 to 4, not {self.degree}")

    def __call__(self, profile: EnergyProfile) -> Predictor:
        """Raises `BadInput` where no layer was measured."""
        if not profile.families:
            raise BadInput("the profile has no measured layers; make one with intaglio energy profile")
        return _Polynomials(profile, _fitted(profile, self.degree), Fallback.of(profile))


@dataclass(frozen=True, eq=False)
class _Polynomial:
    """A polynomial for seconds and one for watts, of one kind of layer in one role."""

    largest: Float[ndarray, "s"]
    degree: int
    seconds: object
    watts: object

    def cost(self, layers: list[SizedLayer]) -> tuple[Float[ndarray, "n"], Float[ndarray, "n"]]:
        """Amounts and seconds, each at least 0."""
        terms = _terms(np.array([_inputs(layer) for layer in layers]) / self.largest, self.degree)
        seconds, watts = (np.maximum(model.predict(terms), 0.0) for model in (self.seconds, self.watts))  # type: ignore
        return seconds * watts, seconds


Group = tuple[str, bool, bool, bool]


@dataclass(frozen=True, eq=False)
class _Polynomials:
    profile: EnergyProfile
    groups: Mapping[Group, _Polynomial]
    fallback: Fallback

    def __call__(self, step: Step) -> StepEstimate:
        total = seconds = covered = 0.0
        for layer, calls in step.layers.items():
            if (group := self.groups.get(_group(layer))) is not None:
                (amount,), (time,) = group.cost([layer])
                covered += calls * float(amount)
            else:
                amount, time = self.fallback(layer), self.fallback.seconds(layer)
            total, seconds = total + calls * float(amount), seconds + calls * float(time)
        coverage = covered / total if total else 0.0
        return StepEstimate(total, np.inf, seconds, self.profile.unit, self.profile.provenance, coverage)


def _fitted(profile: EnergyProfile, degree: int) -> dict[Group, _Polynomial]:
    points: dict[Group, list[tuple[SizedLayer, float, float]]] = defaultdict(list)
    for found in profile.families:
        for layer, amount, seconds in zip(layers_of(found), found.amounts, found.seconds, strict=True):
            if amount > 0 and seconds > 0:
                points[_group(layer)].append((layer, float(amount), float(seconds)))
    return {group: _polynomial(rows, degree) for group, rows in points.items() if len(rows) >= FEWEST}


def _polynomial(rows: list[tuple[SizedLayer, float, float]], degree: int) -> _Polynomial:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LassoCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    inputs = np.array([_inputs(layer) for layer, _, _ in rows])
    largest = np.maximum(inputs.max(0), 1.0)
    terms = _terms(inputs / largest, degree)
    amount, seconds = (np.array([row[k] for row in rows]) for k in (1, 2))
    folds = min(FOLDS, len(rows) // 2)
    fits = []
    for values in (seconds, amount / seconds):
        model = make_pipeline(StandardScaler(), LassoCV(cv=folds, max_iter=20_000, tol=1e-3))
        scale = float(np.abs(values).mean())
        with warnings.catch_warnings():
            # Penalties that do not converge have large errors in the cross-validation, which does not choose them.
            warnings.simplefilter("ignore", ConvergenceWarning)
            fits.append(_Scaled(model.fit(terms, values / scale), scale))
    return _Polynomial(largest, degree, *fits)


@dataclass(frozen=True, eq=False)
class _Scaled:
    model: object
    scale: float

    def predict(self, terms: Float[ndarray, "n t"]) -> Float[ndarray, "n"]:
        return self.scale * self.model.predict(terms)  # type: ignore[attr-defined]


def _group(layer: SizedLayer) -> Group:
    family = layer.family
    return family.kind, family.train, family.input_grad, family.weight_grad


def _inputs(layer: SizedLayer) -> list[float]:
    """Sizes, kernel, operations and bytes."""
    taps = dict(layer.family.attributes).get("taps", 1)
    return [*(float(n) for n in layer.all_sizes.values()), float(taps), layer.flops, layer.bytes]


def _terms(inputs: Float[ndarray, "n s"], degree: int) -> Float[ndarray, "n t"]:
    """All products of up to `degree` sizes; operations and bytes, the last two, as they are."""
    sizes = inputs[:, :-2]
    columns = [inputs[:, -2], inputs[:, -1]]
    for many in range(1, degree + 1):
        for chosen in combinations_with_replacement(range(sizes.shape[1]), many):
            columns.append(sizes[:, list(chosen)].prod(1))
    return np.stack(columns, 1)
