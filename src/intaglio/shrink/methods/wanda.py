"""Wanda: pruning by a weight's size times the size of its input."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.shrink.layer_pruning import LayerPruning
from intaglio.shrink.layer_statistics import Gathered, InputStatistics


@dataclass(frozen=True, kw_only=True)
class Wanda(LayerPruning):
    """Wanda: keeps the weights of each row that are largest times the norm of their input.

    The score of weight W_oj is |W_oj|·‖x_j‖, the norm over all positions of the calibration; scores are compared within
    a row. Inputs of equal norms make it magnitude pruning. What stays is rounded to codes of `bits`; nothing is
    trained.

    Source: arXiv 2306.11695.
    """

    calibrated: ClassVar[bool] = True
    gathered: ClassVar[Gathered] = "squares"

    def scores(self, weight: Float[Tensor, "o n"], inputs: InputStatistics | None) -> Float[Tensor, "o n"]:
        """Absolute values times the root mean squares of the inputs."""
        if inputs is None:
            raise BadInput("wanda scores weights by their inputs, and no statistics of them are given")
        return weight.abs() * inputs.squares.sqrt()
