"""U-Nets of the same layout with fewer channels everywhere, those whose weights are the largest."""

import math
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from jaxtyping import Int
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.diffusion.channel_spaces import ChannelSpaces, Space, channel_spaces
from intaglio.models.diffusion.unet_edits import SETTINGS as EDITS
from intaglio.models.library_logging import quiet_libraries


def narrower_config(denoiser: Any, width: float) -> dict[str, Any]:
    """The settings of the narrower U-Net: as many groups less of a norm, each as wide as before.

    Raises `BadInput` for a U-Net whose modules were changed, and for a width that leaves no layout.
    """
    config = dict(denoiser.config)
    if changed := [name for name in EDITS if config.get(name)]:
        raise BadInput(
            f"a denoiser whose modules were changed ({changed[0]} in its config.json) cannot be made narrower; give "
            "the model that it was made from"
        )
    groups = config.get("norm_num_groups")
    if not groups or "block_out_channels" not in config:
        raise BadInput("a denoiser without group norms cannot be made narrower; use another method")
    left = max(1, round(width * groups))
    widths = [channels // groups * left for channels in config["block_out_channels"]]
    heads = config.get("num_attention_heads") or config["attention_head_dim"]
    every = [heads] * len(widths) if isinstance(heads, int) else list(heads)
    apart = [channels for channels, count in zip(widths, every, strict=True) if channels % count]
    if apart or widths[0] % 2:
        raise BadInput(
            f"width {width:g} leaves {left} of {groups} groups, {', '.join(map(str, widths))} channels, which do not "
            "divide by its heads, or by two; give another width"
        )
    return {**config, "block_out_channels": widths, "norm_num_groups": left}


@torch.no_grad()
def narrower(denoiser: Any, width: float) -> Any:
    """The narrower U-Net; `denoiser` is left as it was. Errors as of `narrower_config` and `channel_spaces`.

    Of residual streams and of the channels within residual blocks whole groups stay, of attentions an equal share of
    each head, of others any: those of the largest sum of squares of the weights that give them.
    """
    config, spaces = narrower_config(denoiser, width), channel_spaces(denoiser)
    with torch.device("meta"), quiet_libraries():
        small: Any = UNet2DConditionModel.from_config(config)
    shapes = {name: tuple(weight.shape) for name, weight in small.state_dict().items()}
    weights, share = denoiser.state_dict(), config["norm_num_groups"] / denoiser.config.norm_num_groups
    kept = {space: kept_channels(spaces, space, weights, share) for space in spaces.makers}
    half, shift = spaces.sinusoids.size // 2, float(denoiser.config.freq_shift)
    kept[spaces.sinusoids] = kept_sinusoids(half, config["block_out_channels"][0] // 2, shift)
    cut = {name: _cut(weight, spaces.axes[name], kept) for name, weight in weights.items()}
    if wrong := [name for name, weight in cut.items() if tuple(weight.shape) != shapes.get(name)]:
        raise BadInput(f"width {width:g} fits no layout of this denoiser ({wrong[0]}); give another width")
    small.load_state_dict(cut, assign=True)
    return small.train(denoiser.training)


def kept_channels(spaces: ChannelSpaces, space: Space, weights: dict[str, Tensor], share: float) -> Int[Tensor, "k"]:
    """Indices of the channels of a space that stay, rising."""
    scores, channels = spaces.scores(space, weights), torch.arange(space.size)
    parts = channels.view(space.groups, -1)
    if space.within:
        each = round(share * parts.shape[1])
        best = scores.view(parts.shape).topk(each, 1).indices.sort(1).values
        return parts.gather(1, best).flatten()
    if space.groups > 1:
        best = scores.view(parts.shape).sum(1).topk(max(1, round(share * space.groups))).indices.sort().values
        return parts[best].flatten()
    return scores.topk(round(share * space.size)).indices.sort().values


def kept_sinusoids(half: int, left: int, shift: float) -> Int[Tensor, "k"]:
    """Of `half` frequencies, and again as many, those nearest to the `left` that the narrower network has."""
    nearest = [math.floor(k * (half - shift) / max(1, left - shift) + 0.5) for k in range(left)]
    one = torch.tensor(nearest).clamp(max=half - 1)
    return torch.cat([one, half + one])


def _cut(weight: Tensor, axes: tuple[tuple[Space | None, ...], ...], kept: dict[Space, Tensor]) -> Tensor:
    """The weight of the kept channels along each of its first axes, as a new tensor."""
    for axis, joined in enumerate(axes):
        if None in joined:
            continue
        first, places = 0, []
        for space in joined:
            if space is not None:
                places.append(first + kept[space])
                first += space.size
        weight = weight.index_select(axis, torch.cat(places).to(weight.device))
    return weight.clone()
