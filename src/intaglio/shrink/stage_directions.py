"""The stages of a denoiser, and distances of their outputs along the directions in which a full network's vary."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from intaglio.errors import BadInput
from intaglio.models.diffusion.transformer_blocks import feed_forwards

SHARE = 4
"""Channels of a stage for each direction."""


def stages(denoiser: Any) -> list[nn.Module]:
    """The down blocks, the middle and the up blocks of a U-Net, in the order of calls.

    Of a transformer the feed-forward layers of its blocks, whose outputs are rows of tokens. Raises `BadInput` for one
    whose blocks read picture and text as one.
    """
    if (blocks := getattr(denoiser, "transformer_blocks", None)) is not None:
        return feed_forwards(blocks)
    _refuse_one_stream(denoiser)
    middle = [] if denoiser.mid_block is None else [denoiser.mid_block]
    return [*denoiser.down_blocks, *middle, *denoiser.up_blocks]


def outward(path: str, denoiser: Any) -> int:
    """The place of a module's resolution, counted from the outermost: 0, and one more each halving.

    The middle is one further than the innermost down block; what lies in no stage is 0. In a transformer it is the
    number of blocks to its nearer end.
    """
    kind, _, rest = path.partition(".")
    if (blocks := getattr(denoiser, "transformer_blocks", None)) is not None:
        place = int(rest.partition(".")[0]) if kind == "transformer_blocks" else 0
        return min(place, len(blocks) - 1 - place)
    _refuse_one_stream(denoiser)
    count = len(denoiser.down_blocks)
    if kind == "mid_block":
        return count
    if kind not in ("down_blocks", "up_blocks"):
        return 0
    place = int(rest.partition(".")[0])
    return place if kind == "down_blocks" else count - 1 - place


def _refuse_one_stream(denoiser: Any) -> None:
    if not hasattr(denoiser, "down_blocks"):
        kind = type(denoiser).__name__
        raise BadInput(f"the {kind} reads picture and text as one, and has no stages to compare; shrink it by rtn")


def principal_directions(output: Float[Tensor, "n *shape"]) -> Float[Tensor, "c k"]:
    """The quarter of orthonormal directions along which the channels vary most over rows and positions, k >= 1."""
    values = maps(output).transpose(0, 1).flatten(1).cpu().double()
    apart = values - values.mean(1, keepdim=True)
    _, directions = torch.linalg.eigh(apart @ apart.T)
    count = max(1, len(values) // SHARE)
    return directions[:, -count:].flip(1).to(output)


def maps(output: Float[Tensor, "n *shape"]) -> Float[Tensor, "n c h w"]:
    """Outputs as maps of channels: rows of tokens [n, t, c] become maps of one column."""
    return output.transpose(1, 2)[..., None] if output.ndim == 3 else output


def directed_errors(
    mine: Sequence[Tensor], theirs: Sequence[Tensor], directions: Sequence[Tensor]
) -> Float[Tensor, " n"]:
    """Of each row, the mean over stages of |(s - t)K|², summed over positions and directions K."""
    each = [
        torch.einsum("nchw,ck->nkhw", maps(one - two), along).square().flatten(1).sum(1)
        for one, two, along in zip(mine, theirs, directions, strict=True)
    ]
    return torch.stack(each).mean(0)
