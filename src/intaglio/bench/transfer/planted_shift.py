"""Planted environments whose S moves far: sums of Z and S are clean, each alone is noisy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.causal.transfer.environment_rows import EnvironmentRows
from intaglio.randomness import numpy_generator

TARGET = "far"
MEANS = {"a": -1.0, "b": 0.0, "c": 1.0, TARGET: 4.0}
"""Mean of S by environment."""
SPREADS = {"a": 0.1, "b": 0.1, "c": 0.1, TARGET: 0.5}
"""Standard deviation of S within an environment."""
OF_Z = np.array([[1.0, 0, 1, 0, 0, 0], [0, 1, 0, 1, 0, 0]])
OF_S = np.array([[1.0, -1, 0, 0, 1, 1]])
NOISE = np.array([0.1, 0.1, 1, 1, 1.5, 1.5])
"""Standard deviation of each feature's own noise."""
SAID = np.array([[1.0, 0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]])
"""Of Z, by class: the outcome is the largest."""


@dataclass(frozen=True, eq=False)
class PlantedShift:
    """Rows whose causes are known."""

    rows: EnvironmentRows
    z: Float[ndarray, "n 2"]
    s: Float[ndarray, "n 1"]

    @property
    def known(self) -> ndarray:
        """Whether a row is of an environment that is learnt from."""
        return np.array(self.rows.environments) != TARGET

    def best(self, places: Sequence[str], where: ndarray) -> float:
        """Share of rows `where` that are right by the mean of Z given the row, under the true prior of S there.

        Args:
            places: environments whose mixture is that prior, taken as one Gaussian.
            where: the rows that are judged.
        """
        means = np.array([MEANS[one] for one in places])
        mean, variance = means.mean(), means.var() + np.mean([SPREADS[one] ** 2 for one in places])
        made = np.concatenate([OF_Z, OF_S])
        precision = np.diag([1, 1, 1 / variance]) + made @ np.diag(NOISE**-2) @ made.T
        given = self.rows.features[where] @ np.diag(NOISE**-2) @ made.T + [0, 0, mean / variance]
        z = np.linalg.solve(precision, given.T).T[:, :2]
        return float(((z @ SAID.T).argmax(1) == np.array(self.rows.outcomes)[where].astype(int)).mean())


def planted_shift(count: int, seed: int) -> PlantedShift:
    """So many rows of each environment, in random order within it.

    Z is standard normal in two numbers, everywhere; S is one number. Two features are Z_1 + S and Z_2 - S with little
    noise, two are Z with noise of 1, two are S with noise of 1.5. Where S lies within 1 of 0 the sums tell Z best, and
    what the noisy ones say of S is rightly shrunk; where S is 4, that makes the sums wrong.
    """
    source = numpy_generator(seed, 0)
    places = np.repeat(list(MEANS), count)
    z = source.standard_normal((len(places), 2))
    s = np.array([MEANS[one] + SPREADS[one] * source.standard_normal() for one in places])[:, None]
    features = z @ OF_Z + s @ OF_S + NOISE * source.standard_normal((len(places), 6))
    said = tuple(str(one) for one in (z @ SAID.T).argmax(1))
    rows = EnvironmentRows(tuple(map(str, range(len(places)))), tuple(places.tolist()), said, features)
    return PlantedShift(rows, z, s)
