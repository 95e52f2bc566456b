"""Similarity of pictures by a model's own latents, which sees texture and colour where an encoder sees the subject."""

import hashlib

import torch
from torch import Tensor

from intaglio.denoising.losses import pieces
from intaglio.metrics.similarity.measures import Embedding
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

ENCODED_AT_ONCE = 4
"""Pictures in one call of the encoder."""


def latent_similarity(model: LatentDiffusion) -> Embedding:
    """Cosine of latents, each channel less its mean over the picture: a correlation of latent pictures."""

    def network(pixels: Tensor) -> Tensor:
        latents = torch.cat([model.encode(pixels[piece]).float() for piece in pieces(len(pixels), ENCODED_AT_ONCE)])
        return (latents - latents.mean((2, 3), keepdim=True)).flatten(1)

    name = f"latents of {model.name}"
    digest = hashlib.sha256(f"latents without the mean of each channel, {model.fingerprint}".encode()).hexdigest()
    return Embedding(name, digest, network, model.device)
