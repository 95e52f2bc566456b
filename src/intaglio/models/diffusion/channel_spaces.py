"""`ChannelSpaces`: the channels that each axis of a U-Net's weights runs over, so that all of them can be cut alike."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from intaglio.errors import BadInput


@dataclass(frozen=True)
class Space:
    """Channels that belong together: of a residual stream, or between two layers."""

    name: str
    size: int
    groups: int = 1
    """Equal parts of which whole ones are kept, or, with `within`, an equal share of each."""
    within: bool = False
    """Whether the parts are heads, of which each keeps some channels."""


@dataclass(frozen=True)
class ChannelSpaces:
    """The spaces of a U-Net with the blocks of Stable Diffusion 1, 2 and XL."""

    axes: dict[str, tuple[tuple[Space | None, ...], ...]] = field(default_factory=dict)
    """Of each weight the spaces along its first axes, one after the other where they are joined; None for channels
    that are no space: those of latents, of text and of sizes."""
    makers: dict[Space, list[tuple[str, int]]] = field(default_factory=dict)
    """Weights whose rows give the channels of a space, with the row that they begin at."""
    sinusoids: Space = Space("sinusoids of the timestep", 0)

    def scores(self, space: Space, weights: dict[str, Tensor]) -> Float[Tensor, "c"]:
        """Of each channel, the sum of the squares of the weights that give it."""
        found = torch.zeros(space.size, dtype=torch.float64)
        for name, first in self.makers[space]:
            found += weights[name][first : first + space.size].detach().double().square().flatten(1).sum(1).cpu()
        return found


def channel_spaces(denoiser: Any) -> ChannelSpaces:
    """The spaces of a U-Net. Raises `BadInput` for one with a weight of a layer that is not known here."""
    return _Walk(denoiser).found()


class _Walk:
    """The layers of a U-Net in the order of a forward pass."""

    def __init__(self, denoiser: Any):
        self._net, config = denoiser, denoiser.config
        self._widths, self._groups = tuple(config.block_out_channels), config.norm_num_groups
        self._levels = [Space(f"level {k}", width, self._groups) for k, width in enumerate(self._widths)]
        self._spaces = ChannelSpaces(sinusoids=Space("sinusoids of the timestep", self._widths[0]))
        self._time = Space("time embedding", denoiser.time_embedding.linear_2.out_features)

    def found(self) -> ChannelSpaces:
        self._embeddings()
        stream: Space = self._levels[0]
        self._layer("conv_in", (None,), (stream,))
        skips = [stream]
        for place, block in enumerate(self._net.down_blocks):
            level = self._levels[place]
            for k, _ in enumerate(block.resnets):
                self._pair(f"down_blocks.{place}", k, block, (stream,), level)
                stream = level
                skips.append(stream)
            for k, _ in enumerate(block.downsamplers or ()):
                self._layer(f"down_blocks.{place}.downsamplers.{k}.conv", (stream,), (level,))
                skips.append(level)
        self._middle(stream)
        for place, block in enumerate(self._net.up_blocks):
            level = self._levels[-1 - place]
            for k, _ in enumerate(block.resnets):
                self._pair(f"up_blocks.{place}", k, block, (stream, skips.pop()), level)
                stream = level
            for k, _ in enumerate(block.upsamplers or ()):
                self._layer(f"up_blocks.{place}.upsamplers.{k}.conv", (stream,), (level,))
        self._norm("conv_norm_out", (stream,))
        self._layer("conv_out", (stream,), (None,))
        self._refuse_others()
        return self._spaces

    def _embeddings(self) -> None:
        sinusoids, first = self._spaces.sinusoids, Space("time embedding, inside", self._time.size)
        self._layer("time_embedding.linear_1", (sinusoids,), (first,))
        self._layer("time_embedding.cond_proj", (None,), (sinusoids,))
        self._layer("time_embedding.linear_2", (first,), (self._time,))
        added = Space("added embedding, inside", self._time.size)
        self._layer("add_embedding.linear_1", (None,), (added,))
        self._layer("add_embedding.linear_2", (added,), (self._time,))

    def _middle(self, stream: Space) -> None:
        block = self._net.mid_block
        if block is None:
            return
        for k, _ in enumerate(block.resnets):
            self._resnet(f"mid_block.resnets.{k}", (stream,), stream)
            if k < len(getattr(block, "attentions", ())):
                self._transformer(f"mid_block.attentions.{k}", stream)

    def _pair(self, scope: str, k: int, block: Any, given: tuple[Space, ...], out: Space) -> None:
        self._resnet(f"{scope}.resnets.{k}", given, out)
        if getattr(block, "attentions", None):
            self._transformer(f"{scope}.attentions.{k}", out)

    def _resnet(self, scope: str, given: tuple[Space, ...], out: Space) -> None:
        inner = Space(scope, out.size, self._groups)
        self._norm(f"{scope}.norm1", given)
        self._layer(f"{scope}.conv1", given, (inner,))
        self._layer(f"{scope}.time_emb_proj", (self._time,), (inner,))
        self._norm(f"{scope}.norm2", (inner,))
        self._layer(f"{scope}.conv2", (inner,), (out,))
        self._layer(f"{scope}.conv_shortcut", given, (out,))

    def _transformer(self, scope: str, stream: Space) -> None:
        inner = Space(scope, stream.size)
        self._norm(f"{scope}.norm", (stream,))
        self._layer(f"{scope}.proj_in", (stream,), (inner,))
        for k, block in enumerate(self._net.get_submodule(scope).transformer_blocks):
            name = f"{scope}.transformer_blocks.{k}"
            for norm in ("norm1", "norm2", "norm3"):
                self._norm(f"{name}.{norm}", (inner,))
            self._attention(f"{name}.attn1", block.attn1, inner, inner)
            self._attention(f"{name}.attn2", block.attn2, inner, None)
            hidden = Space(f"{name}.ff", block.ff.net[2].in_features)
            copies = block.ff.net[0].proj.out_features // hidden.size
            self._layer(f"{name}.ff.net.0.proj", (inner,), (hidden,) * copies)
            self._layer(f"{name}.ff.net.2", (hidden,), (inner,))
        self._layer(f"{scope}.proj_out", (inner,), (stream,))

    def _attention(self, scope: str, attention: Any, inner: Space, looked_at: Space | None) -> None:
        if attention is None:
            return
        keys = Space(f"{scope}, queries and keys", attention.to_q.out_features, attention.heads, True)
        values = Space(f"{scope}, values", attention.to_v.out_features, attention.heads, True)
        self._layer(f"{scope}.to_q", (inner,), (keys,))
        self._layer(f"{scope}.to_k", (looked_at,), (keys,))
        self._layer(f"{scope}.to_v", (looked_at,), (values,))
        self._layer(f"{scope}.to_out.0", (values,), (inner,))

    def _layer(self, scope: str, given: tuple[Space | None, ...], out: Sequence[Space | None]) -> None:
        """A linear layer or a convolution, where the network has it."""
        module = _module(self._net, scope)
        if module is None:
            return
        self._spaces.axes[f"{scope}.weight"] = (tuple(out), given)
        if module.bias is not None:
            self._spaces.axes[f"{scope}.bias"] = (tuple(out),)
        first = 0
        for space in out:
            if space is not None:
                self._spaces.makers.setdefault(space, []).append((f"{scope}.weight", first))
                first += space.size

    def _norm(self, scope: str, given: tuple[Space, ...]) -> None:
        if _module(self._net, scope) is not None:
            self._spaces.axes.update({f"{scope}.{name}": (given,) for name in ("weight", "bias")})

    def _refuse_others(self) -> None:
        for name, weight in self._net.state_dict().items():
            axes = self._spaces.axes.get(name, ())
            sizes = [[0 if one is None else one.size for one in spaces] for spaces in axes]
            fits = [sum(one) == weight.shape[k] or 0 in one for k, one in enumerate(sizes)]
            if not axes or not all(fits):
                raise BadInput(
                    f"a denoiser with {name} cannot be made narrower; give a model with the blocks of Stable Diffusion"
                )


def _module(network: nn.Module, scope: str) -> Any:
    """The module of this name; None where there is none."""
    try:
        return network.get_submodule(scope)
    except AttributeError:
        return None
