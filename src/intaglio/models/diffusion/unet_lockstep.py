"""`UNetLockstep`: U-Nets of one layout that run side by side, and go on from one merged feature after every block."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.diffusion.removed_branches import refuse_removed

Merge = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(place, features [B, N, c, h, w] of N networks, t [B], text [B, l, d]) to the feature [B, c, h, w] of them all."""
DOWN, UP = ("CrossAttnDownBlock2D", "DownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D")
"""Blocks of Stable Diffusion 1, 2 and XL."""


class UNetLockstep:
    """N U-Nets of one layout in lock-step, called as a single one is."""

    def __init__(self, networks: Sequence[Any], merge: Merge):
        """`networks`: `UNet2DConditionModel`s, one or more. Raises `BadInput` for blocks of another layout."""
        for network in networks:
            refuse_other_blocks(network)
        self.networks, self.merge = tuple(networks), merge
        self.places = len(place_channels(networks[0]))

    def __call__(
        self,
        sample: Float[Tensor, "n c h w"],
        timestep: Int[Tensor, "n"],
        encoder_hidden_states: Float[Tensor, "n l d"],
        timestep_cond: Tensor | None = None,
        added_cond_kwargs: Mapping[str, Tensor] | None = None,
        return_dict: bool = False,
    ) -> tuple[Float[Tensor, "n out h w"]]:
        """The merged output, alone in a tuple; the arguments have the names that a U-Net's own have."""
        if return_dict:
            raise ValueError("U-Nets in lock-step give a tuple; leave return_dict at False")
        given = (sample, timestep, encoder_hidden_states, timestep_cond, added_cond_kwargs)
        walks = [walk_of(network, *given) for network in self.networks]
        merged = self._merged(0, [next(walk) for walk in walks], timestep, encoder_hidden_states)
        for place in range(1, self.places):
            merged = self._merged(place, [walk.send(merged) for walk in walks], timestep, encoder_hidden_states)
        return (merged,)

    def _merged(self, place: int, features: Sequence[Tensor], t: Tensor, text: Tensor) -> Tensor:
        return self.merge(place, torch.stack(list(features), 1), t, text)

    @contextmanager
    def leading(self) -> Iterator[None]:
        """While the block runs, a call of the first network is one of them all; restored after it, also on error."""
        first = self.networks[0]
        first.forward = self.__call__
        try:
            yield
        finally:
            del first.forward


def mean_of(place: int, features: Float[Tensor, "n networks c h w"], *given: Tensor) -> Float[Tensor, "n c h w"]:
    """The mean over the networks, at every place the same."""
    return features.mean(1)


def refuse_other_blocks(network: Any) -> None:
    """Raises `BadInput` for a network with blocks beside those of Stable Diffusion 1, 2 and XL, or without some."""
    refuse_removed(network, "run in lock-step")
    blocks = [(DOWN, *network.down_blocks), (UP, *network.up_blocks)]
    for known, *found in blocks:
        for block in found:
            if (name := type(block).__name__) not in known:
                raise BadInput(
                    f"a denoiser with {name} cannot run in lock-step; give models with the blocks of Stable "
                    f"Diffusion, {', '.join((*DOWN, *UP))}"
                )


def place_channels(network: Any) -> list[int]:
    """Channels of the features at each place where networks in lock-step are merged, from the first on.

    The places are conv_in, each resnet of the down path (with its attention, where it has one) and each downsampler,
    the mid block, each resnet of the up path, and conv_out.
    """
    channels = [network.conv_in.out_channels]
    for block in network.down_blocks:
        channels += [resnet.conv2.out_channels for resnet in block.resnets]
        channels += [downsampler.out_channels for downsampler in block.downsamplers or ()]
    if network.mid_block is not None:
        channels.append(network.mid_block.resnets[-1].conv2.out_channels)
    channels += [resnet.conv2.out_channels for block in network.up_blocks for resnet in block.resnets]
    return [*channels, network.conv_out.out_channels]


def walk_of(
    network: Any,
    sample: Tensor,
    timestep: Tensor,
    text: Tensor,
    timestep_cond: Tensor | None,
    added: Mapping[str, Tensor] | None,
) -> Generator[Tensor, Any, None]:
    """The forward pass of one U-Net, which yields the feature of each place and is sent what to go on from."""
    time = _time_embedding(network, sample, timestep, text, timestep_cond, added)
    text = network.process_encoder_hidden_states(text, added)
    whole = any(side % 2**network.num_upsamplers for side in sample.shape[-2:])
    x = yield network.conv_in(2 * sample - 1 if network.config.center_input_sample else sample)
    skips = [x]
    for block in network.down_blocks:
        for resnet, attention in _pairs(block):
            x = yield _attended(attention, resnet(x, time), text)
            skips.append(x)
        for downsampler in block.downsamplers or ():
            x = yield downsampler(x)
            skips.append(x)
    if network.mid_block is not None:
        x = yield _mid(network.mid_block, x, time, text)
    for block in network.up_blocks:
        for resnet, attention in _pairs(block):
            x = yield _attended(attention, resnet(torch.cat([x, skips.pop()], 1), time), text)
        for upsampler in block.upsamplers or ():
            # Sides that do not halve evenly are those of the skip connection that follows.
            x = upsampler(x, skips[-1].shape[2:] if whole and skips else None)
    if network.conv_norm_out:
        x = network.conv_act(network.conv_norm_out(x))
    yield network.conv_out(x)


def _time_embedding(
    network: Any,
    sample: Tensor,
    timestep: Tensor,
    text: Tensor,
    timestep_cond: Tensor | None,
    added: Mapping[str, Tensor] | None,
) -> Tensor:
    """Embedding of the timesteps, and of the pooled text and the sizes (SDXL) where the network takes them."""
    time = network.time_embedding(network.get_time_embed(sample=sample, timestep=timestep), timestep_cond)
    further = network.get_aug_embed(emb=time, encoder_hidden_states=text, added_cond_kwargs=added)
    time = time if further is None else time + further
    return time if network.time_embed_act is None else network.time_embed_act(time)


def _pairs(block: Any) -> list[tuple[Any, Any]]:
    """Each resnet of a block with its attention; None where the block has none."""
    attentions = getattr(block, "attentions", None) or [None] * len(block.resnets)
    return list(zip(block.resnets, attentions, strict=True))


def _attended(attention: Any, x: Tensor, text: Tensor) -> Tensor:
    return x if attention is None else attention(x, encoder_hidden_states=text, return_dict=False)[0]


def _mid(block: Any, x: Tensor, time: Tensor, text: Tensor) -> Tensor:
    return (
        block(x, time, encoder_hidden_states=text) if getattr(block, "has_cross_attention", False) else block(x, time)
    )
