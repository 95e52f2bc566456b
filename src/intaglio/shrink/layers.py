"""`WeightLayer`: the linear and convolutional layers of a model's networks, whose weights are made smaller."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor, nn

from intaglio.errors import BadInput
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

SHRINKABLE = ("denoiser", "text_encoder", "text_encoder_2", "text_encoder_3")
"""Parts that can be made smaller; the autoencoder keeps its float32."""
KEPT_BITS = 8
"""Bits a weight of the layers that are kept finer."""


@dataclass(frozen=True, eq=False)
class WeightLayer:
    """A linear layer, or a convolution of one group, with its weight as a matrix of a row for each output."""

    part: str
    """Of the model: denoiser, text_encoder or text_encoder_2."""
    path: str
    """Of the module in its network."""
    module: Any
    """A `nn.Linear` or a `nn.Conv2d`."""

    @property
    def name(self) -> str:
        """Name of the weight in its network."""
        return f"{self.path}.weight"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight."""
        return tuple(self.module.weight.shape)

    @property
    def rows(self) -> int:
        """Outputs."""
        return self.shape[0]

    @property
    def columns(self) -> int:
        """Inputs; of a convolution, those of one position."""
        return self.module.weight[0].numel()

    @property
    def matrix(self) -> Float[Tensor, "o n"]:
        """The weight, float32 on the CPU."""
        return self.module.weight.detach().float().cpu().flatten(1)

    def inputs(self, x: Tensor) -> Float[Tensor, "p n"]:
        """The layer's inputs as rows that its matrix is applied to: a row a token, or a position of a convolution."""
        module = self.module
        if isinstance(module, nn.Linear):
            return x.flatten(0, -2)
        padding: Any = module.padding
        taken = functional.unfold(x, module.kernel_size, module.dilation, padding, module.stride)
        return taken.transpose(1, 2).flatten(0, 1)


def weight_layers(model: LatentDiffusion, parts: Sequence[str] = ("denoiser",)) -> list[WeightLayer]:
    """The layers of these parts, in the order of the modules.

    Raises `BadInput` for a part that the model does not have, or that is not made smaller.
    """
    present = [name for name in SHRINKABLE if name in model.parts]
    if unknown := [name for name in parts if name not in present]:
        raise BadInput(f"{model.name} has no part {unknown[0]} to be made smaller; use {', '.join(present)}")
    return [
        WeightLayer(part, path, module)
        for part in parts
        for path, module in model.parts[part].named_modules()
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
    ]


def kept_apart(layer: WeightLayer, keep: Sequence[str]) -> bool:
    """Whether a layer is among those that are kept finer: it, or a module around it, has one of these names."""
    return any(layer.path == name or layer.path.startswith(f"{name}.") for name in keep)
