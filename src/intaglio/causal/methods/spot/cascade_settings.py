"""Settings of the training of a skeleton cascade."""

from dataclasses import dataclass

FEWEST_MODELS = 10
"""Fewest simulated models of a stage."""
NETWORK_VARIABLES = 50
"""Most variables of the tables that SiCL's network is calibrated on: it was trained on no more."""


@dataclass(frozen=True, kw_only=True)
class CascadeTraining:
    """Settings of the training of a skeleton cascade."""

    models: int = 1000
    """Simulated models of each stage, 10 or more: first order, second order, calibration, held-out figures."""
    variables: tuple[int, ...] = (5, 8, 10, 15, 20, 30, 40, 50, 75, 100)
    """Numbers of variables, of which each model has one."""
    rows: tuple[int, int] = (100, 10_000)
    """Fewest and most rows of a table, the smaller first, 10 or more, drawn on a logarithmic scale."""
    trees: int = 150
    """Trees of each order, 1 or more."""
    leaves: int = 31
    """Most leaves of a tree, 2 or more."""
    seed: int = 0
    """Seed of the models, their rows and the trees."""

    def __post_init__(self) -> None:
        for name, least in (("models", FEWEST_MODELS), ("trees", 1), ("leaves", 2), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, not {getattr(self, name)}")
        if not self.variables or min(self.variables) < 2:
            raise ValueError(f"variables must be numbers of 2 or more, not {self.variables}")
        if not 10 <= self.rows[0] <= self.rows[1]:
            raise ValueError(
                f"rows must be two numbers of 10 or more, the smaller first, not {self.rows[0]} and {self.rows[1]}"
            )
