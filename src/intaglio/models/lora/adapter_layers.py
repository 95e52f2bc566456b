"""The change of one module's weight by an adapter: the contract, and the low-rank pair that is trained and written."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from intaglio.models.packing.packed_linear import PackedLinear

Hooked = nn.Linear | nn.Conv2d
"""The kinds of modules that an adapter can change."""
ForwardHook = Callable[[nn.Module, tuple, Tensor], Tensor]
"""From a module, its inputs and its output to another output."""


@runtime_checkable
class AdapterLayer(Protocol):
    """The change of one module's weight W, [out, in] or [out, in, kernel, kernel], by an adapter of any kind."""

    @property
    def kind(self) -> str:
        """Its kind, in a word: LoRA, LoHa."""
        ...

    @property
    def peft_type(self) -> str:
        """The name of its kind in PEFT's configuration: LORA, LOHA, LOKR, OFT."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its change; a convolution's may be flat, [out, in * kernel * kernel]; 0 for any number."""
        ...

    def tensors(self) -> tuple[Tensor, ...]:
        """Its tensors, in a fixed order."""
        ...

    def content(self) -> Iterator[str | Tensor]:
        """All that decides its change, in a fixed order: words and numbers as text, and tensors."""
        ...

    def changes_nothing(self) -> bool:
        """Whether its change is known to be zero, whatever the weight."""
        ...

    def misfit(self, model_shape: tuple[int, ...]) -> str | None:
        """The reason that it cannot act on a weight of this shape; None where it can."""
        ...

    def change(self, weight: Tensor, strength: float) -> Tensor:
        """The tensor that is added to this weight at a strength: float32, of its shape, on its device."""
        ...

    def hook(self, module: Hooked, strength: float) -> ForwardHook:
        """The forward hook that makes the module compute as if the change were added to its weight."""
        ...


class Layer(NamedTuple):
    """The low-rank change of one module's weight: `alpha / rank * up @ down`."""

    down: Tensor  # [rank, in] or [rank, in, kernel, kernel]
    up: Tensor  # [out, rank] or [out, rank, 1, 1]
    alpha: float

    @property
    def kind(self) -> str:
        return "LoRA"

    @property
    def peft_type(self) -> str:
        return "LORA"

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    @property
    def shape(self) -> tuple[int, ...]:
        return self.up.shape[0], *self.down.shape[1:]

    def tensors(self) -> tuple[Tensor, ...]:
        return self.down, self.up

    def content(self) -> Iterator[str | Tensor]:
        yield f"{self.kind} {self.scale!r}"
        yield from self.tensors()

    def changes_nothing(self) -> bool:
        return has_zeros_alone(self.tensors())

    def misfit(self, model_shape: tuple[int, ...]) -> str | None:
        down, up = self._in_dimensions(len(model_shape))
        fits = tuple(down.shape[1:]) == model_shape[1:] and up.shape[0] == model_shape[0]
        return None if fits else not_its_shape(self.shape, model_shape)

    def change(self, weight: Tensor, strength: float) -> Tensor:
        change = (self.up.float().flatten(1) @ self.down.float().flatten(1)).reshape(weight.shape)
        return self.scale * strength * change.to(weight.device)

    def hook(self, module: Hooked, strength: float) -> ForwardHook:
        down, up = (_placed(tensor, module) for tensor in self._in_dimensions(len(weight_shape(module))))
        return _PairHook(down, up, self.scale * strength)

    def _in_dimensions(self, count: int) -> tuple[Tensor, Tensor]:
        """(down, up) for a weight of 2 or 4 dimensions: a linear layer and a 1x1 convolution stand for each other."""
        down, up = self.down, self.up
        if count == 2 and down.ndim == 4 and down.shape[2:] == (1, 1):
            return down.flatten(1), up.flatten(1)
        if count == 4 and down.ndim == 2:
            return down[:, :, None, None], up[:, :, None, None]
        return down, up


def weight_shape(module: Hooked) -> tuple[int, ...]:
    """The shape of a module's weight, also of one that is packed."""
    return module.shape if isinstance(module, PackedLinear) else tuple(module.weight.shape)


def weight_place(module: Hooked) -> tuple[torch.device, torch.dtype]:
    """Device and precision of a module's weight, the precision that it was packed from for one that is packed."""
    if isinstance(module, PackedLinear):
        return module.codes.device, module.dtype
    return module.weight.device, module.weight.dtype


def has_zeros_alone(factors: Iterable[Tensor]) -> bool:
    """Whether one of the factors of a product is zero."""
    return any(not bool(factor.any()) for factor in factors)


def not_its_shape(shape: tuple[int, ...], model_shape: tuple[int, ...]) -> str:
    """The words of a misfit between the shape of a change and that of a weight."""
    return f"changes a weight of shape {tuple(shape)}, the model's is {model_shape}"


def _placed(tensor: Tensor, module: Hooked) -> Tensor:
    """Frozen weights go to the module's device and type once; trained ones keep their own, and are cast in use."""
    return tensor if tensor.requires_grad else tensor.to(*weight_place(module))


class _PairHook:
    def __init__(self, down: Tensor, up: Tensor, scale: float):
        self.down, self.up, self.scale = down, up, scale

    def __call__(self, module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        # Under autocast the pair computes in the output's own precision, as the module does.
        half = torch.is_autocast_enabled(output.device.type)
        dtype = output.dtype if half else torch.promote_types(self.down.dtype, output.dtype)
        down, up = (tensor.to(output.device, dtype) for tensor in (self.down, self.up))
        x = inputs[0].to(dtype)
        if isinstance(module, nn.Conv2d):
            small = functional.conv2d(x, down, None, module.stride, module.padding, module.dilation)
            change = functional.conv2d(small, up)
        else:
            change = functional.linear(functional.linear(x, down), up)
        return output + (self.scale * change).to(output.dtype)
