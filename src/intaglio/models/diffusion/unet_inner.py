"""The inner part of a U-Net: its lowest resolutions, which can run again on kept features, without the down side above.

The down side above level a is not run again: its features are those of an earlier call. Everything on the up side is.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float, Real
from torch import Tensor, nn

from intaglio.errors import BadInput

Residuals = tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class InnerFeatures:
    """Features of one call of a U-Net, from which its inner part can run again."""

    first: Float[Tensor, "n c h w"]
    """Input of the first block of the inner part's down side."""
    last: Float[Tensor, "n d h w"]
    """Output of its last block on the up side, before it is upsampled."""
    outer: tuple[Residuals, ...]
    """What each up block above takes of the down side above."""


@dataclass
class KeptFeatures:
    """The features of a call, part by part while it is made."""

    first: list[Tensor] = field(default_factory=list)
    last: list[Tensor] = field(default_factory=list)
    outer: list[Residuals] = field(default_factory=list)

    @property
    def features(self) -> InnerFeatures:
        """Those of the one call that was made."""
        return InnerFeatures(self.first[0], self.last[0], tuple(self.outer))


@dataclass(frozen=True, eq=False)
class InnerUNet:
    """A `UNet2DConditionModel` that is cut at the down block whose input is kept."""

    unet: Any
    level: int
    """Place of that down block, 1 or more: 1 is the second highest resolution."""

    @classmethod
    def of(cls, unet: Any, lowest: int, name: str) -> "InnerUNet":
        """The cut by the number of lowest resolutions within, all but the highest where there are fewer.

        Raises `BadInput` for a denoiser that has no such part; `name` is the model's name.
        """
        downs, ups = (list(getattr(unet, blocks, None) or []) for blocks in ("down_blocks", "up_blocks"))
        count = len(downs)
        fits = count == len(ups) and all(getattr(block, "upsamplers", None) for block in ups[:-1])
        if count < 2 or not fits:
            raise BadInput(f"the denoiser of {name} is no U-Net of two resolutions or more; give a model that has one")
        return cls(unet, max(1, count - lowest))

    @property
    def top(self) -> Any:
        """The last up block of the inner part."""
        return self.unet.up_blocks[self._cut - 1]

    @property
    def joint(self) -> Any:
        """The first up block above the inner part: its first layer takes features of both resolutions."""
        return self.unet.up_blocks[self._cut]

    @property
    def channels(self) -> tuple[int, int]:
        """Channels of `InnerFeatures.first` and of `InnerFeatures.last`."""
        widths = self.unet.config.block_out_channels
        return widths[self.level - 1], widths[self.level]

    @property
    def _cut(self) -> int:
        """Number of up blocks within the inner part."""
        return len(self.unet.up_blocks) - self.level

    @contextmanager
    def keeping(self) -> Iterator[KeptFeatures]:
        """While the block runs, what one call of the U-Net computes is kept; no hook is left."""
        kept = KeptFeatures()

        def first(module: nn.Module, args: Any, given: Mapping[str, Any]) -> None:
            kept.first.append(given["hidden_states"])

        def outer(module: nn.Module, args: Any, given: Mapping[str, Any]) -> None:
            kept.outer.append(given["res_hidden_states_tuple"])

        handles = [self.unet.down_blocks[self.level].register_forward_pre_hook(first, with_kwargs=True)]
        handles += [
            block.register_forward_pre_hook(outer, with_kwargs=True) for block in self.unet.up_blocks[self._cut :]
        ]
        handles.append(self._keep_last(kept.last))
        try:
            yield kept
        finally:
            for handle in handles:
                handle.remove()

    def run(
        self,
        features: InnerFeatures,
        embedding: Float[Tensor, "n e"],
        text: Float[Tensor, "n l k"],
        size: tuple[int, int],
    ) -> tuple[Float[Tensor, "n o hl wl"], InnerFeatures]:
        """The U-Net's output from the inner part's first block on, and the features for the next step.

        Args:
            features: with the input of the first block; `last` is not read.
            embedding: of the timestep, and of what is added to it (`embedded`).
            text: embeddings of tokens, as the U-Net takes them.
            size: height and width of the latents.
        """
        unet, last = self.unet, list[Tensor]()
        sample, residuals = features.first, [features.first]
        for block in unet.down_blocks[self.level :]:
            sample, found = block(hidden_states=sample, temb=embedding, **_text_for(block, text))
            residuals += found
        if unet.mid_block is not None:
            sample = unet.mid_block(sample, embedding, **_text_for(unet.mid_block, text))
        taken = list[Residuals]()
        for block in unet.up_blocks[: self._cut]:
            taken.append(tuple(residuals[-len(block.resnets) :]))
            residuals = residuals[: -len(block.resnets)]
        handle = self._keep_last(last)
        try:
            output = self._up(sample, embedding, text, [*taken, *features.outer], size)
        finally:
            handle.remove()
        return output, InnerFeatures(features.first, last[0], features.outer)

    def above(
        self,
        features: InnerFeatures,
        embedding: Float[Tensor, "n e"],
        text: Float[Tensor, "n l k"],
        size: tuple[int, int],
    ) -> tuple[Float[Tensor, "n o hl wl"], InnerFeatures]:
        """The U-Net's output from that of the inner part on, `features.last`, and the same features; args as of `run`.

        Only what lies above the inner part on the up side runs.
        """
        to = self._upsampled_size(features.outer[0], size)
        sample = self.top.upsamplers[0](features.last, to)
        return self._up(sample, embedding, text, list(features.outer), size), features

    def embedded(self, sample: Tensor, t: Real[Tensor, "n"], given: Mapping[str, Any]) -> Float[Tensor, "n e"]:
        """The embedding of a timestep with what the U-Net adds to it; `sample` tells precision and device."""
        unet = self.unet
        found = unet.time_embedding(unet.get_time_embed(sample=sample, timestep=t), given["timestep_cond"])
        added = unet.get_aug_embed(
            emb=found,
            encoder_hidden_states=given["encoder_hidden_states"],
            added_cond_kwargs=given["added_cond_kwargs"],
        )
        found = found if added is None else found + added
        return found if unet.time_embed_act is None else unet.time_embed_act(found)

    def _up(
        self, sample: Tensor, embedding: Tensor, text: Tensor, taken: list[Residuals], size: tuple[int, int]
    ) -> Tensor:
        """The output by as many of the last up blocks as there are residuals for."""
        unet = self.unet
        for place, block in enumerate(unet.up_blocks[-len(taken) :]):
            to = self._upsampled_size(taken[place + 1], size) if place + 1 < len(taken) else None
            more = {"res_hidden_states_tuple": taken[place], "upsample_size": to, **_text_for(block, text)}
            sample = block(hidden_states=sample, temb=embedding, **more)
        if unet.conv_norm_out is not None:
            sample = unet.conv_act(unet.conv_norm_out(sample))
        return unet.conv_out(sample)

    def _upsampled_size(self, taken: Residuals, size: tuple[int, int]) -> tuple[int, ...] | None:
        """The size that the U-Net names for what meets these residuals; None where halves double to it again."""
        uneven = any(side % 2**self.unet.num_upsamplers for side in size)
        return tuple(taken[-1].shape[2:]) if uneven else None

    def _keep_last(self, found: list[Tensor]) -> Any:
        """A hook that keeps what the last inner up block gives before it is upsampled."""

        def keep(module: nn.Module, args: tuple[Any, ...]) -> None:
            found.append(args[0])

        return self.top.upsamplers[0].register_forward_pre_hook(keep)


def _text_for(block: nn.Module, text: Tensor) -> dict[str, Any]:
    """The text embeddings for a block with cross-attention; nothing for others."""
    return {"encoder_hidden_states": text} if getattr(block, "has_cross_attention", False) else {}
