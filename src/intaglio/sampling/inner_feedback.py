"""Inner loop feedback on a U-Net: the block that is fed back, predictions of inner steps, and their share of a call."""

import copy
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Real
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from intaglio.errors import BadInput
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.removed_branches import refuse_removed
from intaglio.models.diffusion.shapes_alone import planned_row, without_memory
from intaglio.models.diffusion.unet_inner import InnerFeatures, InnerUNet
from intaglio.sampling.calls import Predict
from intaglio.sampling.trained_part import TrainedPart

Reenter = Literal["down", "up"]
"""Where feedback enters: at the first down block of the inner part, which runs again, or at the part's own output."""


class FeedbackBlock(nn.Module):
    """A copy of a layer of a U-Net's up blocks, which joins features of two widths; float32."""

    def __init__(self, layer: nn.Module, attention: nn.Module | None):
        """`layer` is a residual block, `attention` the one after it or None; both are copied."""
        super().__init__()
        self.layer = copy.deepcopy(layer).float().requires_grad_(False).eval()
        self.attention = None if attention is None else copy.deepcopy(attention).float().requires_grad_(False).eval()

    def forward(
        self,
        last: Float[Tensor, "n d h w"],
        first: Float[Tensor, "n c h w"],
        embedding: Float[Tensor, "n e"],
        text: Float[Tensor, "n l k"],
    ) -> Float[Tensor, "n o h w"]:
        """Features of one width from those of both ends of the inner part, at the timestep of the embedding."""
        found = self.layer(torch.cat([last, first], 1).float(), embedding.float())
        if self.attention is None:
            return found
        return self.attention(found, encoder_hidden_states=text.float(), return_dict=False)[0]


@dataclass(frozen=True, eq=False)
class InnerLoop:
    """A model with a feedback block: predictions of full steps, and of inner ones from their features."""

    model: LatentDiffusion
    inner: InnerUNet
    block: FeedbackBlock
    gamma: Float[Tensor, ""]
    """Scale factor of the feedback; 0 runs on the kept features as they are."""
    reenter: Reenter
    """Where the feedback enters."""

    @classmethod
    def of(cls, model: LatentDiffusion, lowest: int, reenter: Reenter) -> "InnerLoop":
        """As a training begins: the block a copy of the model's own, the scale factor 0.

        Raises `BadInput` for a model whose denoiser is no such U-Net.
        """
        inner = InnerUNet.of(getattr(model, "denoiser", None), lowest, model.name)
        refuse_removed(model.denoiser, "take feedback")
        first, last = inner.channels
        # Of all layers of the U-Net these two join the two widths, and give the one that is due.
        copied, place = (inner.joint, 0) if reenter == "down" else (inner.top, -1)
        layer = copied.resnets[place]
        if (layer.in_channels, layer.out_channels) != (first + last, first if reenter == "down" else last):
            raise BadInput(
                f"the up blocks of {model.name} take other features than a feedback block can give; give a model with "
                "the blocks of Stable Diffusion"
            )
        attention = copied.attentions[place] if getattr(copied, "has_cross_attention", False) else None
        block = FeedbackBlock(layer, attention).to(model.device)
        return cls(model, inner, block, torch.zeros((), device=model.device), reenter)

    @classmethod
    def trained(cls, model: LatentDiffusion, part: TrainedPart, gamma: float | None) -> "InnerLoop":
        """As it was trained; `gamma` takes the place of the trained scale factor, unless it is None."""
        found = cls.of(model, int(part.facts["lowest"]), part.facts["reenter"])
        names = found.block.state_dict()
        found.block.load_state_dict({name: part.tensor(f"block.{name}") for name in names})
        given = part.tensor("gamma") if gamma is None else torch.tensor(gamma)
        return replace(found, gamma=given.to(model.device))

    @property
    def weights(self) -> dict[str, Tensor]:
        """All that is trained, by name; the tensors are shared."""
        return {"gamma": self.gamma, **{f"block.{name}": weight for name, weight in self.block.named_parameters()}}

    def full(
        self, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], given: Conditioning, predict: Predict
    ) -> tuple[Float[Tensor, "n c h w"], InnerFeatures]:
        """The model's own prediction by one call, and its features."""
        with self.inner.keeping() as kept:
            noise = predict(latents, t, given)
        return noise, kept.features

    def step(
        self, features: InnerFeatures, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], given: Conditioning
    ) -> tuple[Float[Tensor, "n c h w"], InnerFeatures]:
        """The prediction of an inner step, and its features, from those of the step before it.

        The latents only turn the denoiser's output into noise, where it predicts anything else.
        """
        inputs, dtype = self.model.denoiser_inputs(len(latents), given), self.model.dtype
        embedding = self.inner.embedded(latents.to(dtype), t, inputs)
        output, found = self._from(features, embedding, inputs["encoder_hidden_states"], latents.shape[2:])
        output = output[:, : latents.shape[1]].float()
        return self.model.schedule.noise_of(output, latents.float(), t), found

    def thousandths(self) -> int:
        """Multiplications of an inner step over those of a call of the denoiser, in thousandths, rounded."""
        unet = without_memory(self.inner.unet)
        twin = replace(self, inner=replace(self.inner, unet=unet), block=without_memory(self.block))
        twin = replace(twin, gamma=torch.zeros((), device="meta"))
        latents, t, inputs = planned_row(self.model)
        with torch.no_grad(), FlopCounterMode(display=False) as whole, twin.inner.keeping() as kept:
            unet(latents, t, **inputs, return_dict=False)
        with torch.no_grad(), FlopCounterMode(display=False) as part:
            embedding = twin.inner.embedded(latents, t, inputs)
            twin._from(kept.features, embedding, inputs["encoder_hidden_states"], latents.shape[2:])
        return round(1000 * part.get_total_flops() / whole.get_total_flops())

    def _from(
        self, features: InnerFeatures, embedding: Tensor, text: Tensor, size: tuple[int, ...]
    ) -> tuple[Tensor, InnerFeatures]:
        """The denoiser's output from kept features, with the feedback."""
        fed = self.gamma * self.block(features.last, features.first, embedding, text)
        fed, to = fed.to(features.first.dtype), (size[0], size[1])
        if self.reenter == "down":
            return self.inner.run(replace(features, first=features.first + fed), embedding, text, to)
        return self.inner.above(replace(features, last=features.last + fed), embedding, text, to)
