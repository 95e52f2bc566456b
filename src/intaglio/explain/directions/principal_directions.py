"""Principal directions of what a site gives, at each step of the sampling."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def principal_directions(
    values: Float[Tensor, "n s *shape"], count: int, *, joint: bool = False
) -> tuple[Float[Tensor, "k s *shape"], Sequence[float]]:
    """The first principal directions by deviation, each times the deviation along it, and their shares of variance.

    A step's directions are the right singular vectors v of its centred values, and deviations s / sqrt(n - 1) of the
    singular values s. Signs follow the first step: v_t has no negative product with v_1; that of v_1 is of its largest
    number. With `joint`, the values of all steps are one long vector, so that a direction is the same component at
    every step, and its share that of the variance of all. Fewer directions than asked for are filled up with zeros.
    """
    if joint:
        found, shares = _directions(values.flatten(1), count)
        shifts = found.unflatten(1, values.shape[1:])
        return _signed(shifts, joint=True), [float(share) for share in shares]
    steps = [_directions(values[:, k].flatten(1), count) for k in range(values.shape[1])]
    shifts = torch.stack([found for found, _ in steps], 1).unflatten(2, values.shape[2:])
    shares = torch.stack([share for _, share in steps], 1).mean(1)
    return _signed(shifts), [float(share) for share in shares]


def _directions(rows: Float[Tensor, "n d"], count: int) -> tuple[Float[Tensor, "k d"], Float[Tensor, "k"]]:
    """Principal directions times deviations, and shares of variance."""
    centred = rows.double() - rows.double().mean(0)
    _, sizes, vectors = torch.linalg.svd(centred, full_matrices=False)
    found = vectors[:count] * (sizes[:count] / max(len(rows) - 1, 1) ** 0.5)[:, None]
    shares = sizes[:count].square() / sizes.square().sum().clamp(min=1e-30)
    if (missing := count - len(found)) > 0:
        found = torch.cat([found, found.new_zeros(missing, found.shape[1])])
        shares = torch.cat([shares, shares.new_zeros(missing)])
    return found, shares


def _signed(shifts: Float[Tensor, "k s *shape"], *, joint: bool = False) -> Float[Tensor, "k s *shape"]:
    """Each step's directions with the sign that agrees with the first step's, float32; joint ones have one sign."""
    flat = shifts.flatten(2)
    first = flat[:, 0]
    largest = first.gather(1, first.abs().argmax(1, keepdim=True))
    flat = flat * _sign(largest)[:, None]
    if joint:
        return flat.reshape(shifts.shape).float()
    along = (flat * flat[:, :1]).sum(2, keepdim=True)
    return (flat * _sign(along)).reshape(shifts.shape).float()


def _sign(values: Tensor) -> Tensor:
    """1 or -1; 1 for zero."""
    return torch.where(values < 0, -1.0, 1.0).to(values.dtype)
