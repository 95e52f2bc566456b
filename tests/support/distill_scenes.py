"""Sets that students are distilled on in tests."""

from collections.abc import Sequence

import torch

import tiny
from intaglio.distill.distillation_set import DistillationSet


def planted(count: int = 6, captions: Sequence[str] = ("red cat", "dog")) -> DistillationSet:
    """Latents of unit noise for the tiny models, with these captions in turn."""
    latents = torch.randn(count, tiny.CHANNELS, 8, 8, generator=torch.Generator().manual_seed(1))
    return DistillationSet(latents, tuple(captions[k % len(captions)] for k in range(count)), "planted latents")
