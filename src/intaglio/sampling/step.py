"""The deterministic DDIM step (arXiv 2010.02502, eta 0), towards less noise or towards more."""

from jaxtyping import Float
from torch import Tensor

from intaglio.sampling.grid import NoiseLevel


def clean_estimate(
    x: Float[Tensor, "n *shape"], noise: Float[Tensor, "n *shape"], level: NoiseLevel
) -> Float[Tensor, "n *shape"]:
    """The clean latents in `x` at `level` if `noise` is the unit noise in it: (x - noise level * noise) / signal."""
    return (x - level.noise * noise) / level.signal


def ddim_step(
    x: Float[Tensor, "n *shape"], noise: Float[Tensor, "n *shape"], now: NoiseLevel, then: NoiseLevel
) -> Float[Tensor, "n *shape"]:
    """Latents at level `then` from latents `x` at level `now`, with the unit noise in them held fixed.

    x_s = signal_s * (x_t - noise_t * eps) / signal_t + noise_s * eps (arXiv 2010.02502, equation 12 with sigma 0).
    With s below t it samples, with s above t it inverts. A step and the step back with the same `noise` give `x` again
    up to rounding; an inversion is inexact only in that the network is asked for its noise at the other end.

    Args:
        x: noised latents, of any floating dtype, which the result keeps.
        noise: the prediction of the unit noise in `x`, as `LatentDiffusion.predict` gives it.
        now: the level of `x`; see `level_at`.
        then: the level asked for; `CLEAN` gives the clean estimate.
    """
    return then.signal * clean_estimate(x, noise, now) + then.noise * noise
