"""The Gaussian negative log-likelihood of linear mixed graphs from the covariance alone, with its gradients."""

from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

SHRINKAGE, MOST_SHRINKAGES = 0.8, 100
"""Factor of W, as often as it takes for Ω to be positive definite, and how often that is before W is 0."""
NEAR_SINGULAR = 1e-9
"""Added to the diagonal of I - B, which a cycle may make singular."""


class LikelihoodGradients(NamedTuple):
    """The value for each restart, and its gradients with respect to B, to the two triangles of W, and to log ω."""

    value: Float64[Tensor, "k"]
    arrows: Float64[Tensor, "k d d"]
    doubles: Float64[Tensor, "k d d"]
    """Symmetric: the gradient with respect to W_ij and W_ji, which are one parameter, half for each."""
    log_variances: Float64[Tensor, "k d"]


def likelihood_gradients(
    covariance: Float64[Tensor, "d d"],
    arrows: Float64[Tensor, "k d d"],
    doubles: Float64[Tensor, "k d d"],
    variances: Float64[Tensor, "k d"],
) -> LikelihoodGradients:
    """½ (log det Ω + tr(Ω⁻¹ (I - B)' S (I - B))) - log |det(I - B)|, with Ω = W + diag(ω), for each restart.

    Without a directed cycle the last term is 0; with one it keeps the likelihood that of the cyclic model.

    Args:
        covariance: S.
        arrows: B, with a zero diagonal.
        doubles: W, symmetric with a zero diagonal; Ω is to be positive definite.
        variances: ω, above 0.
    """
    rest = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device) - arrows
    root = torch.linalg.cholesky(doubles + torch.diag_embed(variances))
    precision, moments = torch.cholesky_inverse(root), rest.mT @ covariance @ rest
    inside = rest + NEAR_SINGULAR * torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    by_errors = 0.5 * (precision - precision @ moments @ precision)
    value = root.diagonal(dim1=-2, dim2=-1).log().sum(-1) + 0.5 * (precision * moments).sum((-2, -1))
    return LikelihoodGradients(
        value - torch.linalg.slogdet(inside)[1],
        torch.linalg.inv(inside).mT - covariance @ rest @ precision,
        by_errors - torch.diag_embed(by_errors.diagonal(dim1=-2, dim2=-1)),
        by_errors.diagonal(dim1=-2, dim2=-1) * variances,
    )


def definite(doubles: Float64[Tensor, "k d d"], variances: Float64[Tensor, "k d"]) -> Float64[Tensor, "k d d"]:
    """W, made smaller where Ω would not be positive definite."""
    for _ in range(MOST_SHRINKAGES):
        lost = torch.linalg.cholesky_ex(doubles + torch.diag_embed(variances))[1] > 0
        if not lost.any():
            return doubles
        doubles = torch.where(lost[:, None, None], SHRINKAGE * doubles, doubles)
    return torch.where(lost[:, None, None], 0.0, doubles)
