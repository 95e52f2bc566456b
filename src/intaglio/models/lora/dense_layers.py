"""Adapters whose change is computed whole: LoHa, LoKr, LoCon with a Tucker core, and DoRA on any of them.

LoHa is FedPara's Hadamard product of two low-rank matrices (Hyeon-Woo et al. 2021, arXiv:2108.06098), LoKr a Kronecker
product, both as LyCORIS names them (Yeh et al. 2023, arXiv:2309.14859); DoRA is Liu et al. 2024 (arXiv:2402.09353).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from intaglio.models.lora.adapter_layers import AdapterLayer, ForwardHook, Hooked, has_zeros_alone, not_its_shape


@dataclass(frozen=True, eq=False)
class Factors:
    """A low-rank weight: the matrix `a @ b`, or a kernel in Tucker form, `sum_ij core[i, j] a[i, out] b[j, in]`."""

    a: Tensor
    """[out, rank]; [rank, out] where there is a core."""
    b: Tensor
    """[rank, in]"""
    core: Tensor | None = None
    """[rank, rank, kernel, kernel]"""

    @property
    def rank(self) -> int:
        return self.b.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the product: [out, in], or [out, in, kernel, kernel] with a core."""
        if self.core is None:
            return self.a.shape[0], self.b.shape[1]
        return self.a.shape[1], self.b.shape[1], *self.core.shape[2:]

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.a, self.b) if self.core is None else (self.a, self.b, self.core)

    def content(self) -> Iterator[str | Tensor]:
        """All that decides the product, in a fixed order."""
        yield f"factors {len(self.tensors())}"
        yield from self.tensors()

    def fit(self) -> bool:
        """Whether the shapes go together."""
        if self.a.ndim != 2 or self.b.ndim != 2 or 0 in (*self.a.shape, *self.b.shape):
            return False
        if self.core is None:
            return self.a.shape[1] == self.rank
        return self.core.ndim == 4 and self.core.shape[:2] == (self.a.shape[0], self.rank) and 0 not in self.core.shape

    def product(self) -> Tensor:
        """The weight, in float32."""
        if self.core is None:
            return self.a.float() @ self.b.float()
        return torch.einsum("ijkl,io,jn->onkl", self.core.float(), self.a.float(), self.b.float())


class DenseLayer(ABC):
    """A change that is computed whole, and acts by its own convolution or product beside the module's."""

    _KIND: ClassVar[str]
    _PEFT_TYPE: ClassVar[str]

    @property
    def kind(self) -> str:
        return self._KIND

    @property
    def peft_type(self) -> str:
        return self._PEFT_TYPE

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of the change; a convolution's may be flat, [out, in * kernel * kernel]."""

    @abstractmethod
    def tensors(self) -> tuple[Tensor, ...]:
        """Its tensors, in a fixed order."""

    @abstractmethod
    def content(self) -> Iterator[str | Tensor]:
        """All that decides its change, in a fixed order: words and numbers as text, and tensors."""

    def changes_nothing(self) -> bool:
        return has_zeros_alone(self.tensors())

    @abstractmethod
    def product(self) -> Tensor:
        """The change at strength 1, in float32 and its own shape."""

    def misfit(self, model_shape: tuple[int, ...]) -> str | None:
        shape = tuple(self.shape)
        flat = (model_shape[0], math.prod(model_shape[1:]))
        fits = shape == model_shape or (shape == flat if len(shape) == 2 else shape == (*model_shape, 1, 1))
        return None if fits else not_its_shape(shape, model_shape)

    def change(self, weight: Tensor, strength: float) -> Tensor:
        return strength * self.product().reshape(weight.shape).to(weight.device)

    def hook(self, module: Hooked, strength: float) -> ForwardHook:
        return dense_hook(self, module, strength)


@dataclass(frozen=True, eq=False)
class TuckerLayer(DenseLayer):
    """A LoCon of a convolution whose kernel is in Tucker form: `scale * up x (mid x down)`."""

    _KIND: ClassVar[str] = "LoCon with a Tucker core"
    _PEFT_TYPE: ClassVar[str] = "LORA"
    factors: Factors
    scale: float

    @property
    def shape(self) -> tuple[int, ...]:
        return self.factors.shape

    def tensors(self) -> tuple[Tensor, ...]:
        return self.factors.tensors()

    def content(self) -> Iterator[str | Tensor]:
        yield f"{self.kind} {self.scale!r}"
        yield from self.factors.content()

    def product(self) -> Tensor:
        return self.scale * self.factors.product()


@dataclass(frozen=True, eq=False)
class HadamardLayer(DenseLayer):
    """LoHa: `scale * first * second`, element by element, of two low-rank weights of one shape and rank."""

    _KIND: ClassVar[str] = "LoHa"
    _PEFT_TYPE: ClassVar[str] = "LOHA"
    first: Factors
    second: Factors
    scale: float

    @property
    def shape(self) -> tuple[int, ...]:
        return self.first.shape

    def tensors(self) -> tuple[Tensor, ...]:
        return *self.first.tensors(), *self.second.tensors()

    def content(self) -> Iterator[str | Tensor]:
        yield f"{self.kind} {self.scale!r}"
        yield from self.first.content()
        yield from self.second.content()

    def product(self) -> Tensor:
        return self.scale * self.first.product() * self.second.product()


@dataclass(frozen=True, eq=False)
class KroneckerLayer(DenseLayer):
    """LoKr: `scale * first (x) second`, the Kronecker product over outputs and inputs."""

    _KIND: ClassVar[str] = "LoKr"
    _PEFT_TYPE: ClassVar[str] = "LOKR"
    first: Tensor | Factors
    """[out_1, in_1], whole or as a product."""
    second: Tensor | Factors
    """[out_2, in_2] or [out_2, in_2, kernel, kernel], whole or as a product; in_2 may hold a flat kernel."""
    scale: float

    @property
    def shape(self) -> tuple[int, ...]:
        out, inner, *kernel = self.second.shape
        return self.first.shape[0] * out, self.first.shape[1] * inner, *kernel

    def tensors(self) -> tuple[Tensor, ...]:
        both = (self.first, self.second)
        return tuple(it for one in both for it in (one.tensors() if isinstance(one, Factors) else (one,)))

    def content(self) -> Iterator[str | Tensor]:
        yield f"{self.kind} {self.scale!r}"
        for one in (self.first, self.second):
            yield from one.content() if isinstance(one, Factors) else ("whole", one)

    def whole(self) -> tuple[Tensor, Tensor]:
        """Both factors in float32, whole."""
        first, second = (
            one.product() if isinstance(one, Factors) else one.float() for one in (self.first, self.second)
        )
        return first, second

    def product(self) -> Tensor:
        first, second = self.whole()
        first = first.reshape(*first.shape, *(1 for _ in second.shape[2:]))
        return self.scale * torch.kron(first, second.contiguous())


@dataclass(frozen=True, eq=False)
class MagnitudeLayer:
    """DoRA: the weight with the inner change, V = W + dW, is rescaled to stated norms: `W' = m * V / ||V||`.

    The norm is over each output's row (all inputs and the kernel), or, in older files of LyCORIS, over each input's
    column (all outputs and the kernel). A strength s gives `W + s (W' - W)`, as ComfyUI does; PEFT scales dW inside
    the norm instead, which agrees at s = 1.
    """

    inner: AdapterLayer
    magnitude: Tensor
    """[out], or [in] where the norms are those of columns."""
    of_rows: bool
    dimensions: int = 2
    """Dimensions of the weight by the shape in which the magnitude was stored: 4 for a convolution."""

    @property
    def kind(self) -> str:
        return f"DoRA on a {self.inner.kind}"

    @property
    def peft_type(self) -> str:
        return self.inner.peft_type

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inner.shape

    def tensors(self) -> tuple[Tensor, ...]:
        return *self.inner.tensors(), self.magnitude

    def content(self) -> Iterator[str | Tensor]:
        yield f"{self.kind} of {'rows' if self.of_rows else 'columns'}"
        yield from self.inner.content()
        yield self.magnitude

    def changes_nothing(self) -> bool:
        return False  # the weight is rescaled, whatever the inner change

    def misfit(self, model_shape: tuple[int, ...]) -> str | None:
        wanted = model_shape[0 if self.of_rows else 1]
        if (why := self.inner.misfit(model_shape)) is not None or self.magnitude.numel() == wanted:
            return why
        what = "outputs" if self.of_rows else "inputs"
        return f"its DoRA magnitude has {self.magnitude.numel()} values, the model's weight {wanted} {what}"

    def change(self, weight: Tensor, strength: float) -> Tensor:
        own = weight.float()
        full = own + self.inner.change(weight, 1.0)
        axis = 0 if self.of_rows else 1
        norm = torch.linalg.vector_norm(full, dim=[dim for dim in range(full.ndim) if dim != axis], keepdim=True)
        magnitude = self.magnitude.to(own.device, torch.float32).reshape(norm.shape)
        # A row of zeros has no direction, and stays.
        return strength * (magnitude * full / norm.clamp_min(torch.finfo(torch.float32).tiny) - own)

    def hook(self, module: Hooked, strength: float) -> ForwardHook:
        return dense_hook(self, module, strength)


@torch.no_grad()
def dense_hook(layer: AdapterLayer, module: Hooked, strength: float) -> ForwardHook:
    """The hook of a change that is computed once, from the weight that the module has when it is attached."""
    weight = module.weight
    return _DenseHook(layer.change(weight, strength).to(weight.dtype))


class _DenseHook:
    def __init__(self, change: Tensor):
        self.change = change

    def __call__(self, module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        dtype = torch.promote_types(self.change.dtype, output.dtype)
        change, x = self.change.to(output.device, dtype), inputs[0].to(dtype)
        if isinstance(module, nn.Conv2d):
            added = functional.conv2d(x, change, None, module.stride, module.padding, module.dilation)
        else:
            added = functional.linear(x, change)
        return output + added.to(output.dtype)
