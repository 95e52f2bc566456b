"""Damped regression of a query's gradient on those of training pictures, in closed form."""

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import IntaglioError


def damped_weights(
    queries: Float[Tensor, "q k"], train: Float[Tensor, "n k"], damping: float, slopes: Float[Tensor, "n"] | None = None
) -> Float[Tensor, "q n"]:
    """phi_q (Phi^T Phi + damping I)^-1 Phi^T, times the slopes: the influences of TRAK (arXiv 2303.14186, section 3).

    Where outputs f are linear, phi their gradients, the loss squared and slopes its derivative by f, this is the
    first-order change of f(q) when row i of a ridge regression is removed; the exact change is it / (1 - h_i), h_i the
    i-th leverage. Without slopes it is the weight of row i in the ridge regression of phi_q on the rows of Phi.

    Args:
        queries: phi of each query.
        train: Phi, float64.
        damping: more than 0, in units of phi squared; at 0 the inverse does not exist for k > n.
        slopes: derivative of the loss by the output, for each training row; None: 1.
    """
    rows, width = train.shape
    if rows <= width:  # the same by the rows' products, as (P^T P + d I)^-1 P^T = P^T (P P^T + d I)^-1
        gram = train @ train.T + damping * torch.eye(rows, dtype=train.dtype)
        found = torch.linalg.solve(gram, train @ queries.T).T
    else:
        moments = train.T @ train + damping * torch.eye(width, dtype=train.dtype)
        found = queries @ torch.linalg.solve(moments, train.T)
    return found if slopes is None else found * slopes


def relative_damping(train: Float[Tensor, "n k"], share: float) -> float:
    """A share of the mean squared norm of the rows, which is the mean of the n eigenvalues of Phi Phi^T.

    Raises `IntaglioError` where all rows are zero.
    """
    mean = float(train.square().sum(1).mean())
    if not mean > 0:
        raise IntaglioError("every gradient is zero, so nothing has an influence; take other --weights")
    return share * mean
