"""Integrated gradients of step classifiers along sparse codes."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.explain.bias.step_classifiers import StepClassifiers
from intaglio.models.sparse_codes import SparseAutoencoder

POINTS = 8
"""Of Gauss and Legendre's quadrature along a path."""


def place_codes(codes: SparseAutoencoder, output: Float[Tensor, "n c *places"]) -> Float[Tensor, "n p k"]:
    """Codes of each place of a site's output; one without places has one."""
    rows = output.flatten(2).movedim(1, 2) if output.dim() > 2 else output[:, None]
    return codes.codes(rows.flatten(0, 1).float()).unflatten(0, rows.shape[:2])


def code_attributions(
    values: Float[Tensor, "n s *shape"],
    labels: Int[Tensor, "n"],
    contrasts: Sequence[Sequence[int]],
    codes: SparseAutoencoder,
    classifiers: StepClassifiers,
    temperature: float,
) -> Float[Tensor, "v k"]:
    """Share of each code in the probability of each value, in drawings of it.

    Of a drawing of value v with codes z [p, k] at a step, whose contrast has codes z0, the path is
    h(a) = h + (a - 1) (z - z0) D from a = 0 to 1, and code j has the sum over places of (z - z0)_j times the mean over
    the path of the gradient of softmax(logits / temperature)_v by z_j. All codes of a step sum to the difference of the
    probability between both ends. Steps are summed, and the mean is over the drawings of a value.

    Args:
        values: activations of n drawings at each step.
        labels: place of each drawing's value.
        contrasts: of each drawing those whose mean codes are its contrast, one or more.
        codes: an autoencoder of a place's numbers.
        classifiers: of these activations.
        temperature: above 0; a high one keeps gradients where a classifier is sure.
    """
    points, weights = np.polynomial.legendre.leggauss(POINTS)
    path = torch.from_numpy((points + 1) / 2).float(), torch.from_numpy(weights / 2).float()
    found = torch.zeros(classifiers.weights.shape[1], len(codes.dictionary), dtype=torch.float64)
    groups = {tuple(one) for one in contrasts}
    for step in range(values.shape[1]):
        output = values[:, step]
        means = {group: place_codes(codes, output[list(group)]).mean(0) for group in groups}
        weight = classifiers.weights[step].unflatten(1, output.shape[1:]).flatten(2).movedim(1, 2)  # [v, p, c]
        slopes = (codes.unit * weight) @ codes.dictionary.T  # of each logit by each code, [v, p, k]
        logits = output.flatten(1) @ classifiers.weights[step].T + classifiers.offsets[step]
        for row, value in enumerate(labels.tolist()):
            change = place_codes(codes, output[row : row + 1])[0] - means[tuple(contrasts[row])]
            found[value] += _of_path(change, slopes, logits[row], value, path, temperature).double()
    return (found / torch.bincount(labels, minlength=len(found)).clamp_min(1)[:, None]).float()


def _of_path(
    change: Float[Tensor, "p k"],
    slopes: Float[Tensor, "v p k"],
    logits: Float[Tensor, "v"],
    value: int,
    path: tuple[Tensor, Tensor],
    temperature: float,
) -> Float[Tensor, "k"]:
    """Attributions of one drawing at one step; logits are linear along the path."""
    along = (slopes * change).sum((1, 2))
    points, weights = path
    shares = ((logits - (1 - points)[:, None] * along) / temperature).softmax(1)
    own = shares[:, value : value + 1]
    # d softmax_v / d logit_j = share_v (1[j = v] - share_j) / temperature
    slope = own * (torch.eye(len(logits))[value] - shares) / temperature
    mean = (weights[:, None] * slope).sum(0)
    return (torch.tensordot(mean, slopes, 1) * change).sum(0)


def code_changes(
    values: Float[Tensor, "n s *shape"],
    labels: Int[Tensor, "n"],
    codes: SparseAutoencoder,
    contrasts: Sequence[Sequence[int]],
) -> Float[Tensor, "v k"]:
    """The mean of each code over places and steps in drawings of a value, less that of their contrasts."""
    means = torch.stack([place_codes(codes, one).double().mean((0, 1)) for one in values])
    found = torch.zeros(int(labels.max()) + 1, means.shape[1], dtype=torch.float64)
    for row, value in enumerate(labels.tolist()):
        found[value] += means[row] - means[list(contrasts[row])].mean(0)
    return (found / torch.bincount(labels).clamp_min(1)[:, None]).float()


def strongest(attributions: Float[Tensor, "v k"], changes: Float[Tensor, "v k"], count: int) -> Int[Tensor, "v m"]:
    """The codes with the largest attribution to each value among those that are higher in its drawings.

    A code that marks another value is lower in them, and lowers the value's probability, so that its attribution is
    above 0 too; to raise it would lead to the other value. The largest come first, of equal ones the first, and codes
    that are no higher after all others.
    """
    ranked = torch.where(changes > 0, attributions, attributions.min() - 1)
    return torch.sort(ranked, dim=1, descending=True, stable=True).indices[:, :count]
