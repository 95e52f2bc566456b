"""Differentiable penalties that are zero exactly where a mixed graph is acyclic and of a class (arXiv 2010.06978)."""

from math import log

import torch
from jaxtyping import Float64
from torch import Tensor

from intaglio.causal.confounding.matrix_exponential import exponential_and_derivative, exponential_minus_one
from intaglio.causal.graphs.admg import ADMGClass

Matrices = Float64[Tensor, "*b d d"]
ARID_COLUMNS = 12
"""Most variables for which the class of arid graphs is offered; its penalty takes O(d^5) steps."""
FIXING_SLOPE, FIXING_CAP, DOUBLE_WEIGHT = log(5000.0), 4.0, 2.0
"""Slope and largest exponent of the soft step that fixes a variable, and the weight of double arrows in its series."""


def violation(arrows: Matrices, doubles: Matrices, kind: ADMGClass) -> Float64[Tensor, "*b"]:
    """h(B, W) = tr(exp(D) - 1) + the penalty of the class, with D = B∘B and Q = W∘W.

    Args:
        arrows: B, where [i, j] is the coefficient of i → j.
        doubles: W, symmetric with a zero diagonal, where [i, j] is the covariance of the errors of i and j.
        kind: the class of graphs; arid for at most `ARID_COLUMNS` variables.
    """
    squared_arrows, squared_doubles = arrows.square(), doubles.square()
    grown = exponential_minus_one(squared_arrows)
    cycles = grown.diagonal(dim1=-2, dim2=-1).sum(-1)
    if kind == "ancestral":  # a directed path leads between the ends of a double arrow
        return cycles + (grown * squared_doubles).sum((-2, -1))
    if kind == "bow-free":
        return cycles + (squared_arrows * squared_doubles).sum((-2, -1)) / arrows.shape[-1] ** 2
    return cycles + arborescences(squared_arrows, squared_doubles)


def violation_gradients(
    arrows: Matrices, doubles: Matrices, kind: ADMGClass
) -> tuple[Float64[Tensor, "*b"], Matrices, Matrices]:
    """`violation` with its gradients with respect to B and to the symmetric W, each entry by itself.

    tr exp(D) has the gradient exp(D)', and Σ exp(D)∘Q the derivative of exp(D') along Q: one pass gives both.
    """
    if kind == "arid":
        with torch.enable_grad():
            leaves = arrows.detach().requires_grad_(), doubles.detach().requires_grad_()
            value = violation(*leaves, kind)
            along_arrows, along_doubles = torch.autograd.grad(value.sum(), leaves)
        return value.detach(), along_arrows, along_doubles
    squared_arrows, squared_doubles = arrows.square(), doubles.square()
    identity = torch.eye(arrows.shape[-1], dtype=arrows.dtype, device=arrows.device)
    if kind == "ancestral":
        grown, turned = exponential_and_derivative(squared_arrows.mT, squared_doubles)
        value = grown.diagonal(dim1=-2, dim2=-1).sum(-1) + (grown.mT * squared_doubles).sum((-2, -1))
        return value, 2 * arrows * (grown + identity + turned), 2 * doubles * grown.mT
    grown, size = exponential_minus_one(squared_arrows.mT), arrows.shape[-1] ** 2
    value = grown.diagonal(dim1=-2, dim2=-1).sum(-1) + (squared_arrows * squared_doubles).sum((-2, -1)) / size
    along = 2 * arrows * (grown + identity + squared_doubles / size)
    return value, along, 2 * doubles * squared_arrows / size


def arborescences(squared_arrows: Matrices, squared_doubles: Matrices) -> Float64[Tensor, "*b"]:
    """The greenery of a graph: zero where no variable is the root of a converging arborescence of two or more.

    For each root, every other variable is fixed softly d - 1 times: the arrows into it and its double arrows are
    multiplied by a factor that is 0 where no double arrows lead from it to a child of its own, and near 1 where they
    do. Then the series of directed and of double-arrow paths into the root are multiplied, and summed over where the
    paths begin.
    """
    d = squared_arrows.shape[-1]
    roots = torch.eye(d, dtype=squared_arrows.dtype, device=squared_arrows.device)
    shape = (*squared_arrows.shape[:-2], d, d, d)
    arrows, doubles = (matrix.unsqueeze(-3).expand(shape) for matrix in (squared_arrows, squared_doubles))
    for _ in range(d - 1):
        within = exponential_minus_one(DOUBLE_WEIGHT * doubles) + roots
        exponent = (FIXING_SLOPE * ((within * arrows).mean(-1) + roots)).clamp(0.0, FIXING_CAP)
        kept = torch.tanh(exponent / 2)  # (e^x - 1) / (e^x + 1)
        arrows = arrows * kept.unsqueeze(-2)
        doubles = doubles * kept.unsqueeze(-2) * kept.unsqueeze(-1)
    directed, connected = (exponential_minus_one(matrix) for matrix in (arrows, DOUBLE_WEIGHT * doubles))
    # (directed + 1) (connected + 1) - 1, with the identity for 1; of each root's own matrix, its own column.
    into = directed * connected + (directed + connected) * roots
    return into.diagonal(dim1=-3, dim2=-1).sum((-2, -1))
