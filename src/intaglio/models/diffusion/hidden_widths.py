"""`HiddenWidth`, `narrow`: channels between two layers of one block of a U-Net, which touch no residual stream.

The output of the block keeps its width, so that nothing else changes when some of them are removed: those between the
two convolutions of a residual block, between the two layers of a feed-forward part, and the heads of an attention.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from intaglio.errors import require
from intaglio.models.diffusion.predicted_units import PredictedFeedForward, PredictedResidual

SETTING = "hidden_widths"
"""Entry of a U-Net's config with the width of every scope that is narrower than its other settings say."""


@dataclass(frozen=True)
class HiddenWidth:
    """The channels between two layers of one block. A unit of them is removed whole, and no less."""

    scope: str
    """Name of the block's module in the U-Net."""
    kind: Literal["residual", "feed-forward", "attention"]
    width: int
    """Channels."""
    unit: int
    """Channels of a unit: a group of the norm between them, whose statistics then stay those of the others; one channel
    of a feed-forward part; a head."""
    producers: tuple[str, ...]
    """Names of the layers within the block that give these channels; one may give several numbers a channel, all first
    ones before all second ones."""
    consumer: str
    """Name of the layer within the block that takes them."""
    norm: str = ""
    """Name of the group norm between them; empty where there is none."""

    @property
    def units(self) -> int:
        """Units of the width."""
        return self.width // self.unit


def hidden_widths(denoiser: nn.Module) -> dict[str, HiddenWidth]:
    """Every hidden width of a U-Net by its scope, in the order of the modules."""
    found = (_width_of(scope, module) for scope, module in denoiser.named_modules())
    return {one.scope: one for one in found if one is not None}


def narrow(denoiser: Any, scope: str, kept: Sequence[int]) -> None:
    """Removes all but the kept units of one hidden width, in place; weights are new tensors.

    Args:
        denoiser: a `UNet2DConditionModel`; its config notes the new width.
        scope: a key of `hidden_widths(denoiser)`.
        kept: indices of units, rising, at least one.

    Raises:
        ValueError: the U-Net has no such scope, or the indices are none of its units in rising order.
    """
    one = hidden_widths(denoiser).get(scope)
    if one is None:
        raise ValueError(f"the U-Net has no hidden width {scope!r}")
    rising = list(kept) == sorted(set(kept)) and len(kept) > 0
    require(
        rising and kept[0] >= 0 and kept[-1] < one.units,
        f"the kept units of {scope} must be rising indices below {one.units}, and at least one",
    )
    if len(kept) == one.units:
        return
    block = denoiser.get_submodule(scope)
    channels = [unit * one.unit + place for unit in kept for place in range(one.unit)]
    for name in one.producers:
        _keep_outputs(block.get_submodule(name), channels, one.width)
    if one.norm:
        _keep_groups(block.get_submodule(one.norm), channels, len(kept))
    _keep_inputs(block.get_submodule(one.consumer), channels)
    if isinstance(block, Attention):
        block.heads = block.sliceable_head_dim = len(kept)
        block.inner_dim = block.inner_kv_dim = len(channels)
    widths = {**(denoiser.config.get(SETTING) or {}), scope: len(channels)}
    denoiser.register_to_config(**{SETTING: dict(sorted(widths.items()))})


def narrow_to(denoiser: Any, widths: Mapping[str, int]) -> None:
    """Gives scopes these widths, by their first units: the shapes of a U-Net whose weights are still to be read.

    Raises `ValueError` for a scope that the U-Net does not have, and for a width that is no multiple of its unit from
    one unit to all of it.
    """
    known = hidden_widths(denoiser)
    for scope, width in widths.items():
        one = known.get(scope)
        if one is None:
            raise ValueError(f"{SETTING} in its config.json names {scope!r}, which this U-Net does not have")
        fits = width % one.unit == 0 and one.unit <= width <= one.width
        require(
            fits,
            f"{SETTING} in its config.json says {width} for {scope}, where a multiple of {one.unit} up to {one.width} "
            "is due",
        )
        narrow(denoiser, scope, range(width // one.unit))


def _width_of(scope: str, module: nn.Module) -> HiddenWidth | None:
    """The hidden width of a block; None for other modules, and for a block with further inputs or joint norms, or with
    predicted units.
    """
    if isinstance(module, PredictedResidual | PredictedFeedForward):
        return None
    if isinstance(module, ResnetBlock2D):
        return _of_residual(scope, module)
    if isinstance(module, FeedForward):
        inner, out = module.net[0], module.net[2]
        if isinstance(getattr(inner, "proj", None), nn.Linear) and isinstance(out, nn.Linear):
            return HiddenWidth(scope, "feed-forward", out.in_features, 1, ("net.0.proj",), "net.2")
    if isinstance(module, Attention) and _is_plain(module):
        width = module.to_q.out_features
        return HiddenWidth(scope, "attention", width, width // module.heads, ("to_q", "to_k", "to_v"), "to_out.0")
    return None


def _of_residual(scope: str, block: ResnetBlock2D) -> HiddenWidth | None:
    norm = block.norm2
    if not isinstance(norm, nn.GroupNorm):
        return None
    producers = ("conv1",) if block.time_emb_proj is None else ("conv1", "time_emb_proj")
    unit = norm.num_channels // norm.num_groups
    return HiddenWidth(scope, "residual", norm.num_channels, unit, producers, "conv2", "norm2")


def _is_plain(attention: Attention) -> bool:
    """Whether heads are independent: no projection of further inputs, no norm of queries and keys, as many of each."""
    layers = [getattr(attention, name, None) for name in ("to_q", "to_k", "to_v")]
    if not all(isinstance(layer, nn.Linear) for layer in layers) or attention.to_out is None:
        return False
    further = (attention.added_kv_proj_dim, attention.norm_q, attention.norm_k)
    one_width = len({layer.out_features for layer in layers if layer is not None}) == 1
    return one_width and not attention.fused_projections and all(one is None for one in further)


# Layers with fewer channels


def _keep_outputs(layer: Any, channels: Sequence[int], width: int) -> None:
    """Keeps the rows of these channels, in each of the numbers that the layer gives for a channel."""
    rows = [start + channel for start in range(0, layer.weight.shape[0], width) for channel in channels]
    _keep(layer, rows)
    setattr(layer, "out_channels" if isinstance(layer, nn.Conv2d) else "out_features", len(rows))


def _keep_groups(norm: Any, channels: Sequence[int], groups: int) -> None:
    _keep(norm, channels)
    norm.num_channels, norm.num_groups = len(channels), groups


def _keep_inputs(layer: Any, channels: Sequence[int]) -> None:
    layer.weight = _parameter(layer.weight, 1, channels)
    setattr(layer, "in_channels" if isinstance(layer, nn.Conv2d) else "in_features", len(channels))


def _keep(layer: Any, rows: Sequence[int]) -> None:
    for name in ("weight", "bias"):
        if (weight := getattr(layer, name)) is not None:
            setattr(layer, name, _parameter(weight, 0, rows))


def _parameter(weight: Tensor, axis: int, places: Sequence[int]) -> nn.Parameter:
    index = torch.tensor(places, device=weight.device)
    return nn.Parameter(weight.detach().index_select(axis, index), requires_grad=weight.requires_grad)
