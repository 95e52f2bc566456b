"""Transformer denoisers of tiny pipelines under their published names, by hand: joined rows, swapped halves."""

import torch

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion


def published_weights(model: LatentDiffusion) -> dict[str, torch.Tensor]:
    """The weights of a model's denoiser as its own code has them."""
    weights, found = model.denoiser.state_dict(), {}
    joined: dict[str, dict[int, torch.Tensor]] = {}
    for name, place in model.family.original_names.places(weights).items():
        weight = torch.cat(weights[name].chunk(2)[::-1]) if place.swapped else weights[name]
        if place.place is None:
            found[place.name] = weight.clone()
        else:
            joined.setdefault(place.name, {})[place.place] = weight
    return found | {name: torch.cat([parts[k] for k in sorted(parts)]) for name, parts in joined.items()}
