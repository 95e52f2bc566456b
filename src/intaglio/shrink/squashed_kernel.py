"""`SquashedKernel`: the kernel of a long convolution in a training, whose small taps are zero and some are dropped."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from intaglio.models.diffusion.long_convolutions import LongConvolution
from intaglio.randomness import generator


class SquashedKernel:
    """While it is on a long convolution, the module computes with the squashed kernel, some taps of it at zero.

    The tensor that is trained stays the module's own parameter.
    """

    def __init__(self, module: LongConvolution, threshold: float):
        """`threshold` is λ of `squashed`, 0 or more."""
        self._module, self._squash = module, _Squash(threshold)
        parametrize.register_parametrization(module, "kernel", self._squash)

    def drop(self, share: float, *labels: object) -> None:
        """Puts a share of the taps, in [0, 1), to zero and the others up by 1/(1 - share); drawn from the labels."""
        self._squash.mask = None
        if share:
            kernel = self._module.kernel
            drawn = torch.rand(kernel.shape, generator=generator(0, "kernel dropout", *labels))
            self._squash.mask = ((drawn >= share) / (1 - share)).to(kernel.device)

    def remove(self) -> None:
        """The module's kernel is the squashed one, no tap of it dropped."""
        self._squash.mask = None
        parametrize.remove_parametrizations(self._module, "kernel", leave_parametrized=True)


def squashed(taps: Float[Tensor, "*shape"], threshold: float) -> Float[Tensor, "*shape"]:
    """sgn(k)·max(|k| - λ, 0), which is the nearest k' to k under a price λ·|k'|; a tap below λ has no gradient."""
    return taps.sign() * (taps.abs() - threshold).clamp(min=0)


class _Squash(nn.Module):
    """The parametrisation."""

    def __init__(self, threshold: float):
        super().__init__()
        self.threshold = threshold
        self.mask: Tensor | None = None

    def forward(self, taps: Tensor) -> Tensor:
        """The kernel in use."""
        used = squashed(taps, self.threshold)
        return used if self.mask is None else used * self.mask
