"""The scale of losses in float16, whose gradients would vanish below 6e-8 (arXiv 1710.03740, section 3.2)."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.overrides import TorchFunctionMode

FIRST, LOWEST, HIGHEST = 2.0**16, 2.0**-24, 2.0**24
"""The scale at first, and its bounds."""
PATIENCE = 2000
"""Steps without an overflow after which the scale is doubled."""


class LossScale:
    """A power of two that every backward pass is multiplied by, and its gradients divided by.

    Both are exact, so that what the pass leaves is the gradient of the loss itself, and only what is computed in
    float16 on the way is scaled. A step whose gradients overflow is made again at half the scale: none is left out.
    """

    def __init__(self) -> None:
        self.value, self._without = FIRST, 0

    def state(self) -> Tensor:
        """The scale, and the steps since it was changed; float64 [2]."""
        return torch.tensor([self.value, self._without], dtype=torch.float64)

    def restore(self, state: Tensor) -> None:
        """Go on from what `state` gave."""
        self.value, self._without = float(state[0]), int(state[1])

    def step(self, made: Callable[[], Any], leaves: Sequence[Tensor], drop: Callable[[], None]) -> Any:
        """The result of a step, by as many tries as it takes.

        Args:
            made: the step, a pure function of the weights; it leaves gradients.
            leaves: tensors that it may leave gradients in.
            drop: drops those of a step that overflowed.
        """
        while True:
            try:
                with self._acting(leaves):
                    found = made()
            except _OverflowError:
                drop()
                self.value, self._without = self.value / 2, 0
            else:
                self._count()
                return found

    def _count(self) -> None:
        self._without += 1
        if self._without >= PATIENCE:
            self.value, self._without = min(2 * self.value, HIGHEST), 0

    @contextmanager
    def _acting(self, leaves: Sequence[Tensor]) -> Iterator[None]:
        with _Scaled(self.value, leaves):
            yield


class _OverflowError(ArithmeticError):
    """Gradients of a finite loss that are not finite, at a scale above the lowest."""


class _Scaled(TorchFunctionMode):
    """While it is entered, `Tensor.backward` and `torch.autograd.grad` are scaled inside."""

    def __init__(self, scale: float, leaves: Sequence[Tensor]):
        super().__init__()
        self._scale, self._leaves = scale, leaves

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = dict(kwargs or {})
        if func is Tensor.backward:
            tensor, gradient, *more = *args, *(() if len(args) > 1 else (named.pop("gradient", None),))
            return self._backward(tensor, gradient, *more, **named)
        if func is torch.autograd.grad:
            outputs, inputs, given, *more = *args, *(() if len(args) > 2 else (named.pop("grad_outputs", None),))
            outputs, given = self._started(outputs, given)
            found = torch.autograd.grad(outputs, inputs, given, *more, **named)
            self._check([one for one in found if one is not None], outputs)
            return tuple(None if one is None else one / self._scale for one in found)
        return func(*args, **named)

    def _backward(self, tensor: Tensor, gradient: Tensor | None, *more: Any, **named: Any) -> None:
        before = [leaf.grad for leaf in self._leaves]
        for leaf in self._leaves:
            leaf.grad = None
        (tensor,), (gradient,) = self._started(tensor, gradient)
        try:
            tensor.backward(gradient, *more, **named)
            self._check([leaf.grad for leaf in self._leaves if leaf.grad is not None], [tensor])
        finally:
            for leaf, earlier in zip(self._leaves, before, strict=True):
                own = None if leaf.grad is None else leaf.grad.div_(self._scale)
                leaf.grad = earlier if own is None else own if earlier is None else earlier.add_(own)

    def _started(self, outputs: Any, gradients: Any) -> tuple[list[Tensor], list[Tensor]]:
        """Outputs as a list, and the scaled gradients that the pass starts from."""
        each = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        given = [gradients] * len(each) if gradients is None or isinstance(gradients, Tensor) else list(gradients)
        starts = [torch.ones_like(out) if one is None else one for out, one in zip(each, given, strict=True)]
        return each, [start * self._scale for start in starts]

    def _check(self, gradients: list[Tensor], outputs: list[Tensor]) -> None:
        if self._scale <= LOWEST or not gradients or math.isfinite(float(get_total_norm(gradients))):
            return
        if all(bool(output.detach().isfinite().all()) for output in outputs):
            raise _OverflowError
