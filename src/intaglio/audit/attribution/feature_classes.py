"""Sources told by some numbers of a picture: a logistic regression, and normal distributions of one covariance."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.audit.attribution.family import JudgedPictures, Learnt


def fitted_classes(
    rows: Float[Tensor, "n f"], labels: Int[Tensor, "n"], hashes: Sequence[str], sources: int, penalty: float
) -> dict[str, Tensor]:
    """Mean and deviation of the features, coefficients, and the normal distributions, by name.

    Args:
        rows: features of pictures, float64.
        labels: the source of each.
        hashes: of the pictures, whose order is taken, so that sums do not depend on files' names.
        sources: K of them.
        penalty: weight of the squared coefficients against the summed log likelihood, above 0.
    """
    from sklearn.covariance import LedoitWolf
    from sklearn.linear_model import LogisticRegression

    mean, deviation = rows.mean(0), rows.std(0).clamp_min(1e-6)
    rows = (rows - mean) / deviation
    order = sorted(range(len(rows)), key=lambda i: hashes[i])
    rows, labels = rows[order], labels[order]
    logistic = LogisticRegression(C=1 / penalty, max_iter=10_000, tol=1e-6).fit(rows.numpy(), labels.numpy())
    weights, bias = torch.from_numpy(logistic.coef_), torch.from_numpy(logistic.intercept_)
    if sources == 2:  # one row for the log odds of the second
        weights, bias = torch.cat([-weights, weights]) / 2, torch.cat([-bias, bias]) / 2
    centres = torch.stack([rows[labels == k].mean(0) for k in range(sources)])
    shared = LedoitWolf(assume_centered=True).fit((rows - centres[labels]).numpy())
    return {
        "mean": mean,
        "deviation": deviation,
        "weights": weights,
        "bias": bias - torch.bincount(labels).double().log(),  # all sources alike beforehand
        "centres": centres,
        "precision": torch.linalg.inv(torch.from_numpy(shared.covariance_)),
    }


def standardised(learnt: Learnt, rows: Float[Tensor, "n f"]) -> Float[Tensor, "n f"]:
    """Features less the mean of those that were learnt from, over their deviation; float64."""
    return (rows.double() - learnt["mean"]) / learnt["deviation"]


def judged_rows(learnt: Learnt, rows: Float[Tensor, "n f"]) -> JudgedPictures:
    """Log posteriors by the logistic regression; the knownness is the log density under the normal distributions."""
    scaled = standardised(learnt, rows)
    posterior = torch.log_softmax(scaled @ learnt["weights"].T + learnt["bias"], 1)
    apart = scaled[:, None] - learnt["centres"]
    squares = torch.einsum("nkf,fg,nkg->nk", apart, learnt["precision"], apart)
    scale = torch.linalg.slogdet(learnt["precision"] / (2 * torch.pi)).logabsdet
    density = torch.logsumexp(scale / 2 - squares / 2, 1) - torch.tensor(squares.shape[1]).double().log()
    return JudgedPictures(posterior, density)
