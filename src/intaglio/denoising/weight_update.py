"""The weight update of a fine-tune, suspect less base, for each matrix [o, i] in the basis of its singular vectors."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

ROUNDING = 1e-3
"""Singular values of an update below this share of its largest count as rounding, not as rank."""


@dataclass(frozen=True, eq=False)
class UpdateBasis:
    """The update [o, i] of one matrix, of rank r, in the basis of its right singular vectors."""

    directions: Float[Tensor, "i r"]
    """V: orthonormal columns that span the update's row space."""
    update: Float[Tensor, "o r"]
    """(suspect - base) V"""

    def project(self, gradient: Tensor) -> Float[Tensor, "o r"]:
        """A gradient of the weight's own shape times V."""
        return gradient.flatten(1) @ self.directions


def update_bases(suspect: LatentDiffusion, base: LatentDiffusion) -> dict[str, UpdateBasis]:
    """The update of every matrix and convolution of the denoiser that differs, by its path.

    A convolution's weight [o, i, ...] counts as the matrix [o, i * ...]. Raises `BadInput` where none differs.
    """
    found: dict[str, UpdateBasis] = {}
    theirs = dict(base.denoiser.named_parameters())
    for path, learned in suspect.denoiser.named_parameters():
        weight = theirs[path].detach().float()
        update = learned.detach().to(weight.device).float() - weight
        if update.ndim < 2 or not update.any():
            continue
        update = update.flatten(1)
        _, values, right = torch.linalg.svd(update, full_matrices=False)
        directions = right[values > ROUNDING * values[0]].T.contiguous()
        found[path] = UpdateBasis(directions, update @ directions)
    if not found:
        raise BadInput(
            f"no matrix of {suspect.name}'s denoiser differs from {base.name}'s, so there is no update to compare "
            "gradients with; use loss-gap, which also sees what the text encoders learned"
        )
    return found


@contextmanager
def half_way(suspect: LatentDiffusion, base: LatentDiffusion, paths: Mapping[str, Any]) -> Iterator[LatentDiffusion]:
    """A float32 copy of the base whose denoiser has the mean of both models' weights.

    Only weights in `paths` collect gradients.
    """
    model = base.copy().to(dtype=torch.float32)
    learned = dict(suspect.denoiser.named_parameters())
    with model.frozen():
        for path, weight in model.denoiser.named_parameters():
            with torch.no_grad():
                weight.lerp_(learned[path].to(weight.device, weight.dtype), 0.5)
            weight.requires_grad_(path in paths)
        yield model
