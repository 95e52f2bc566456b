"""The whole course of a fine-tune on one point in closed form, for a denoiser that is affine at every noise level.

The base is exact for data N(m, diag(v)): eps(x_t) = b (x_t - a m) / (a^2 v + b^2). Each level has weights W and c, and
is tuned by gradient flow on the expected loss of one point x', E|W (a x' + b e) + c - e|^2 / 2 over
e ~ N(0, I). With M = I - b W, whose entries over a are the slopes of the predicted x_0, and r = a W x' + c,

    loss = (|M|^2 + |r|^2) / 2,    M' = -b^2 M + a b r x'^T,    r' = a b M x' - (1 + a^2 |x'|^2) r.

So M y for y across x' falls by exp(-b^2 time), and q = M x' and r follow a two by two system with negative eigenvalues.
By kappa = a s^2 / (a^2 s^2 + b^2) (arXiv 2405.19931, equation 2) the learned width s across x' is

    1 / s(time)^2 = exp(b^2 time) / s(0)^2 + a^2 (exp(b^2 time) - 1) / b^2:

it never rises. Along x' it does where the point is far out: for m = 0 at first where |x'|^2 > v, and never above

    s^2 <= (1 + a^2 |x'|^2) v + b^2 |x'|^2,

since 1 - M >= (1 - M(0)) / (1 + a^2 |x'|^2) there. The point itself is learned in a time of 1 / (1 + a^2 |x'|^2), its
width in one of about 1 / b^2, which is long where there is little noise. Random weights of deviation sigma add
sigma^2 d (E|x_t|^2 + 1) / 2 to the expected loss, in which no mean stands: the Bayesian form has the same course. The
derivations are ours.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.bench.finetune.exact_ground import levels


class AffineCourse:
    """An affine denoiser of N(mean, diag(variances)) after some time of the gradient flow on one point."""

    def __init__(
        self, mean: Float[Tensor, " d"], variances: Float[Tensor, " d"], point: Float[Tensor, " d"], time: float = 0.0
    ):
        """The time is 0 or more; a step of plain gradient descent on the loss above is one of its rate."""
        self._mean, self._variances, self._point, self._time = mean, variances, point, time

    def slopes(self, t: Int[Tensor, " n"]) -> tuple[Float[Tensor, "n d d"], Float[Tensor, "n d"]]:
        """M and r at some timesteps."""
        a, b = levels(t)
        spread = a**2 * self._variances + b**2
        across = torch.diag_embed(a**2 * self._variances / spread)
        offset = a * b * (self._point - self._mean) / spread
        along = across @ self._point
        power = self._point.square().sum()
        across = across - along[:, :, None] * self._point / power
        a, b = a.flatten(), b.flatten()
        rates = torch.stack(
            [torch.stack([-b * b, a * b * power], -1), torch.stack([a * b, -1 - a * a * power], -1)], -2
        )
        along, offset = (torch.matrix_exp(self._time * rates) @ torch.stack([along, offset], 1)).unbind(1)
        across = across * torch.exp(-b * b * self._time)[:, None, None]
        return across + along[:, :, None] * self._point / power, offset

    def __call__(
        self, x: Float[Tensor, "n d"], t: Int[Tensor, " n"], labels: Int[Tensor, " n"] | None = None
    ) -> Float[Tensor, "n d"]:
        """The predicted noise, whatever the label."""
        a, b = levels(t)
        times, index = t.unique(return_inverse=True)
        shrink, offset = (part[index] for part in self.slopes(times))
        away = (x - a * self._point) / b
        return away - (shrink @ away[:, :, None])[:, :, 0] + offset
