"""The deterministic DDIM step (arXiv 2010.02502, eta 0), towards less noise or towards more."""

from jaxtyping import Float
from torch import Tensor

from intaglio.sampling.grid import CLEAN, NoiseLevel


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


def ancestral_step(
    x: Float[Tensor, "n *shape"],
    noise: Float[Tensor, "n *shape"],
    now: NoiseLevel,
    then: NoiseLevel,
    fresh: Float[Tensor, "n *shape"],
) -> Float[Tensor, "n *shape"]:
    """One step of DDPM with the posterior's variance (arXiv 2006.11239), without noise to the clean end.

    Args:
        x: noised latents at `now`.
        noise: the prediction of the unit noise in them.
        now: their level.
        then: the level asked for, of less noise.
        fresh: unit noise.
    """
    x_clean = clean_estimate(x, noise, now)
    if then == CLEAN:
        return x_clean
    spread = then.noise * (1 - (then.ratio / now.ratio) ** 2) ** 0.5
    return then.signal * x_clean + (then.noise**2 - spread**2) ** 0.5 * noise + spread * fresh


def euler_maruyama(
    x: Float[Tensor, "n *shape"],
    noise: Float[Tensor, "n *shape"],
    now: NoiseLevel,
    then: NoiseLevel,
    fresh: Float[Tensor, "n *shape"],
) -> Float[Tensor, "n *shape"]:
    """One step of Euler and Maruyama in noise over signal ρ, from level `now` to a level of less noise.

    From a level without signal it is the step of DDPM, whose noise is finite. Else,
    with z = x / signal: z' = z - (ρ² - ρ'²) / ρ · noise + sqrt(ρ² - ρ'²) · fresh, and without fresh noise to the clean
    end, z' = z - ρ · noise. It is the reverse-time equation of arXiv 2011.13456 for a variance ρ² that explodes; its
    noise is that of the exact equation also on coarse grids, where the posterior's of DDPM is less.

    Args:
        x: noised latents at `now`.
        noise: the prediction of the unit noise in them.
        now: their level.
        then: the level asked for.
        fresh: unit noise.
    """
    if not now.has_signal:
        return ancestral_step(x, noise, now, then, fresh)
    z, fall = x / now.signal, now.ratio**2 - then.ratio**2
    z = z - fall / now.ratio * noise
    return then.signal * (z if then == CLEAN else z + fall**0.5 * fresh)
