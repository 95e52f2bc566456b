"""Bytes of a model's parts before a shrinking and after it, from the bits of each layer's weights."""

from collections.abc import Callable, Sequence

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.shrink.layers import WeightLayer, weight_layers


def sizes(model: LatentDiffusion, parts: Sequence[str], bits: Callable[[WeightLayer], float]) -> tuple[int, int]:
    """Bytes of parts at 16 bits a weight, and with so many bits a weight in each layer, scales and all."""
    before = sum(2 * weight.numel() for part in parts for weight in model.parts[part].state_dict().values())
    layers = weight_layers(model, parts)
    return before, before - sum(round(layer.rows * layer.columns * (2 - bits(layer) / 8)) for layer in layers)
