"""Least squares of a linear ADMG with pseudo-variables, from the covariance alone, so that rows cost nothing."""

import torch
from jaxtyping import Float64
from torch import Tensor

LEAST_EIGENVALUE = 0.01
"""Least eigenvalue of the correlation matrix of errors that is inverted."""
Matrices = Float64[Tensor, "*b d d"]
Covariance = Float64[Tensor, "*s d d"]
"""One for all matrices of a batch, or one for each."""


def residual_gram(covariance: Covariance, arrows: Matrices) -> Matrices:
    """(1 - B)' S (1 - B): second moments of the errors X (1 - B)."""
    rest = torch.eye(arrows.shape[-1], dtype=arrows.dtype, device=arrows.device) - arrows
    return rest.mT @ covariance @ rest


def error_precision(doubles: Matrices, variances: Float64[Tensor, "*b d"]) -> Matrices:
    """P, the inverse of the errors' covariance W + diag(ω); W is shrunk where that is not safely positive definite."""
    scale = variances.rsqrt()
    least = torch.linalg.eigvalsh(scale.unsqueeze(-1) * doubles * scale.unsqueeze(-2))[..., 0]
    share = torch.where(least < LEAST_EIGENVALUE - 1, (LEAST_EIGENVALUE - 1) / least, 1.0)
    return torch.linalg.inv(share[..., None, None] * doubles + torch.diag_embed(variances))


def least_squares(
    covariance: Covariance, arrows: Matrices, doubles: Matrices, arrows_before: Matrices, precision: Matrices
) -> Float64[Tensor, "*b"]:
    """½ Σ_i ‖X_i - X B_i - Z_i W_i‖² / n, where Z_i are the errors of the others times the inverse of their covariance.

    The pseudo-variables Z of the residual iterative conditional fit (Drton, Eichler and Richardson, JMLR 10, 2009) are
    linear in X: with U = PW - P diag(diag(PW) / diag(P)), whose column i is the inverse of the covariance without i
    times W_i, the residuals are X A with A = 1 - B - (1 - B₀) U. The sum is ½ tr(A' S A).

    Args:
        covariance: S [d, d] = X'X / n.
        arrows: B, with a zero diagonal.
        doubles: W, symmetric with a zero diagonal.
        arrows_before: B₀, the coefficients that the errors in Z are of.
        precision: P, the inverse of the covariance of those errors.
    """
    rest = _rest(arrows, doubles, arrows_before, precision)
    return 0.5 * (rest * (covariance @ rest)).sum((-2, -1))


def least_squares_gradients(
    covariance: Covariance, arrows: Matrices, doubles: Matrices, arrows_before: Matrices, precision: Matrices
) -> tuple[Float64[Tensor, "*b"], Matrices, Matrices]:
    """`least_squares` with its gradients with respect to B and to W, each entry of the symmetric W by itself.

    dL/dB = -S A, and with H = -P (1 - B₀)' S A, dL/dW = H - P diag(diag(H) / diag(P)).
    """
    rest = _rest(arrows, doubles, arrows_before, precision)
    moments = covariance @ rest
    onto = precision @ (arrows_before.mT @ moments - moments)
    ratio = onto.diagonal(dim1=-2, dim2=-1) / precision.diagonal(dim1=-2, dim2=-1)
    return 0.5 * (rest * moments).sum((-2, -1)), -moments, onto - precision * ratio.unsqueeze(-2)


def _rest(arrows: Matrices, doubles: Matrices, arrows_before: Matrices, precision: Matrices) -> Matrices:
    """A, by which X becomes the residuals of the regressions."""
    identity = torch.eye(arrows.shape[-1], dtype=arrows.dtype, device=arrows.device)
    product = precision @ doubles
    ratio = product.diagonal(dim1=-2, dim2=-1) / precision.diagonal(dim1=-2, dim2=-1)
    onto = product - precision * ratio.unsqueeze(-2)
    return identity - arrows - (identity - arrows_before) @ onto
