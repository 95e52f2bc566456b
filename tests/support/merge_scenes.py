"""Models that are merged in tests: copies of a base with planted updates."""

from collections.abc import Sequence

import numpy as np
import torch

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion


def fine_tunes(base: LatentDiffusion, count: int, spread: float = 0.02) -> list[LatentDiffusion]:
    """Copies whose denoiser and text encoders are moved by noise, each in its own way."""
    found = []
    for k in range(count):
        source = torch.Generator().manual_seed(k + 1)
        model = base.copy()
        model.name = f"tune {k}"
        with torch.no_grad():
            for name, part in model.parts.items():
                for weight in part.parameters() if name != "autoencoder" else ():
                    weight += spread * torch.randn(weight.shape, generator=source)
        found.append(model)
    return found


def flat(model: LatentDiffusion) -> np.ndarray:
    """All weights of denoiser and text encoders as one vector, float64, in the order of their names."""
    tensors = {
        f"{name}.{path}": weight
        for name, part in model.parts.items()
        if name != "autoencoder"
        for path, weight in part.named_parameters()
    }
    return np.concatenate([tensors[name].detach().double().numpy().ravel() for name in sorted(tensors)])


def in_order(model: LatentDiffusion) -> list[tuple[str, str, torch.Size]]:
    """Part, path and shape of each weight in the order of `flat`."""
    found = {
        f"{name}.{path}": (name, path, weight.shape)
        for name, part in model.parts.items()
        if name != "autoencoder"
        for path, weight in part.named_parameters()
    }
    return [found[name] for name in sorted(found)]


def with_vector(base: LatentDiffusion, vector: Sequence[float] | np.ndarray) -> LatentDiffusion:
    """A copy of a model with the weights of a vector as `flat` has it."""
    model, start = base.copy(), 0
    values = torch.from_numpy(np.asarray(vector, dtype=np.float32))
    with torch.no_grad():
        for name, path, shape in in_order(model):
            count = shape.numel()
            dict(model.parts[name].named_parameters())[path].copy_(values[start : start + count].view(shape))
            start += count
    return model
