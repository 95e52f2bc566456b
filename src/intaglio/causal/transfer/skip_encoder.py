"""Networks of numbers that are a linear function and a correction of it, which begins at 0."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from intaglio.learning.drawn_layer import drawn_layer


class SkipEncoder(nn.Module):
    """y = A x + b + C relu(B x + c), with C = 0 at first; without hidden numbers the linear part alone.

    Beyond the numbers that it learnt from it goes on nearly linearly, as tables of shifted environments ask for.

    Args:
        inputs: numbers of a row.
        outputs: numbers that they become.
        hidden: numbers between, 0 or more.
        seed: of the first weights.
        label: of this network among those of a seed.
    """

    def __init__(self, inputs: int, outputs: int, hidden: int, seed: int, label: str):
        super().__init__()
        self.linear = drawn_layer(nn.Linear, seed, (label, "linear"), inputs, outputs)
        self.inner = drawn_layer(nn.Linear, seed, (label, "inner"), inputs, hidden) if hidden else None
        self.outer = nn.Parameter(torch.zeros(outputs, hidden)) if hidden else None

    def forward(self, rows: Float[Tensor, "... d"]) -> Float[Tensor, "... k"]:
        """The numbers of each row."""
        found = self.linear(rows)
        if self.inner is None or self.outer is None:
            return found
        return found + torch.relu(self.inner(rows)) @ self.outer.T
