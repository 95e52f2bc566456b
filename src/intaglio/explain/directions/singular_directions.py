"""Largest singular vectors of a Jacobian that is known by its products alone."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

SPARE = 2
"""Vectors beside those that are asked for, which make these converge faster."""


def singular_directions(
    forward: Callable[[Tensor], Tensor],
    backward: Callable[[Tensor], Tensor],
    start: Float[Tensor, "m *shape"],
    *,
    iterations: int,
    tolerance: float,
) -> tuple[Float[Tensor, "m *shape"], Float[Tensor, "m"], int]:
    """Right singular vectors of unit length, largest first, with their singular values, and the iterations taken.

    Power iteration of all vectors at once: V goes to an orthonormal basis of J^T J V, after J V has turned them into
    each other (Rayleigh and Ritz), which deflates each by those before it. It ends where no value of the first
    m - `SPARE` changes by more than the tolerance, as a share of itself, or after so many iterations.

    Args:
        forward: of m vectors v, the products J v, [m, q].
        backward: of m vectors u [m, q], the products u J, [m, *shape].
        start: m vectors, at most as many as there are numbers in one; need not be orthonormal.
        iterations: 1 or more, of one product of either kind each, and one of `forward` at the end.
        tolerance: 0 or more.
    """
    shape, kept = start.shape, max(1, len(start) - SPARE)
    basis = _orthonormal(start.flatten(1).double())
    before = torch.zeros(len(start), dtype=torch.float64)
    done = 0
    while True:
        images = forward(basis.reshape(shape).to(start.dtype)).double()
        turn, values, _ = torch.linalg.svd(images, full_matrices=False)
        basis, images = turn.T @ basis, turn.T @ images
        settled = ((values - before).abs() <= tolerance * values)[:kept].all()
        if done == iterations or bool(settled):
            return basis.reshape(shape).to(start.dtype), values.float(), done
        before, done = values, done + 1
        basis = _orthonormal(backward(images.to(start.dtype)).flatten(1).double())


def _orthonormal(rows: Float[Tensor, "m d"]) -> Float[Tensor, "m d"]:
    """Rows of unit length, orthogonal to each other, that span the same."""
    return torch.linalg.qr(rows.T).Q.T
