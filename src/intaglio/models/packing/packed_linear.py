"""`PackedLinear`: a frozen linear layer whose weight is kept in 4 or 8 bits, and computes in its inputs' precision."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from intaglio.models.packing.block_codes import BlockKind, block_codes, level_pairs, unpacked


class PackedLinear(nn.Linear):
    """A linear layer whose weight is unpacked where it acts, again in the backward pass, and the unpacked weight is
    kept nowhere.

    The weight collects no gradient; inputs and the bias do. Under autocast it computes in the precision of that.
    """

    codes: Tensor
    scales: Tensor
    level_pairs: Tensor | None

    def __init__(self, layer: nn.Linear, kind: BlockKind, pairs: Tensor | None = None):
        """Packs a layer's weight; the memory of the bias is the layer's own.

        `pairs` is the table `level_pairs()` of NF4, for layers to share; without it the layer makes its own.
        """
        nn.Module.__init__(self)  # a linear layer's would make a weight
        self.in_features, self.out_features, self.kind = layer.in_features, layer.out_features, kind
        self.dtype = layer.weight.dtype
        codes, scales = block_codes(layer.weight, kind)
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        if kind == "nf4" and pairs is None:
            pairs = level_pairs().to(codes.device)
        self.register_buffer("level_pairs", pairs, persistent=False)
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.data, requires_grad=False)
        self.train(layer.training)

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the weight, [out, in]."""
        return self.out_features, self.in_features

    @property
    def weight(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The whole weight, unpacked for whoever asks; in the precision that it was packed from."""
        return self.unpacked(self.dtype)

    def unpacked(self, dtype: torch.dtype) -> Tensor:
        """The weight, [out, in], in a precision."""
        return unpacked(self.codes, self.scales, self.level_pairs, self.shape, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Product with the unpacked weight, plus the bias."""
        kind = input.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else input.dtype
        bias = None if self.bias is None else self.bias.to(dtype)
        return _Product.apply(input.to(dtype), bias, self)

    def extra_repr(self) -> str:
        """The sizes, as a linear layer's, and the kind of codes."""
        return f"{super().extra_repr()}, {self.kind}"


class _Product(torch.autograd.Function):
    """A linear map that saves no weight for the backward pass, where it is unpacked a second time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor | None, layer: PackedLinear) -> Tensor:
        ctx.layer = layer
        return functional.linear(x, layer.unpacked(x.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (gradient,) = gradients
        wanted_x, wanted_bias, _ = ctx.needs_input_grad
        x = gradient @ ctx.layer.unpacked(gradient.dtype) if wanted_x else None
        bias = gradient.reshape(-1, gradient.shape[-1]).sum(0) if wanted_bias else None
        return x, bias, None
