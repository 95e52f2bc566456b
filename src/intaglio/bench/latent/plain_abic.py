"""One step of ABIC in its plain formulation: a loop over variables on the rows, power series, one tape through all."""

import torch
from jaxtyping import Float64
from torch import Tensor

Matrix = Float64[Tensor, "d d"]
Rows = Float64[Tensor, "n d"]


def pseudo_variables(rows: Rows, arrows_before: Matrix, errors: Matrix) -> list[Rows]:
    """Z_i [n, d] for each variable i: the errors of the others times the inverse of their covariance, 0 in column i."""
    d = rows.shape[1]
    noise, found = rows - rows @ arrows_before, []
    for i in range(d):
        others = [j for j in range(d) if j != i]
        made = torch.zeros_like(rows)
        made[:, others] = noise[:, others] @ torch.linalg.inv(errors[others][:, others])
        found.append(made)
    return found


def plain_gradients(
    rows: Rows, pseudo: list[Rows], arrows: Matrix, doubles: Matrix, weight: float
) -> tuple[float, Matrix, Matrix]:
    """Least squares + α h of the ancestral class, with the gradients with respect to B and to each entry of W.

    Args:
        rows: X, centred.
        pseudo: Z_i of `pseudo_variables`.
        arrows: B.
        doubles: W, symmetric with a zero diagonal.
        weight: α.
    """
    arrows, doubles = arrows.clone().requires_grad_(), doubles.clone().requires_grad_()
    loss = torch.zeros((), dtype=rows.dtype)
    for i in range(rows.shape[1]):
        residual = rows[:, i] - rows @ arrows[:, i] - pseudo[i] @ doubles[:, i]
        loss = loss + residual.square().sum() / (2 * len(rows))
    total = loss + weight * plain_violation(arrows, doubles)
    along_arrows, along_doubles = torch.autograd.grad(total, (arrows, doubles))
    return float(total.detach()), along_arrows, along_doubles


def plain_violation(arrows: Matrix, doubles: Matrix) -> Tensor:
    """tr(exp D) - d + Σ exp(D)∘Q by the series Σ D^k / k!, to its term d - 1 or to 12 where there are fewer."""
    squared, d = arrows.square(), len(arrows)
    power = torch.eye(d, dtype=arrows.dtype)
    grown = power
    for k in range(1, max(d, 13)):
        power = power @ squared / k
        grown = grown + power
    return grown.trace() - d + (grown * doubles.square()).sum()
