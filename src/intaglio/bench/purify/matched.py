"""Purifiers at a strength at which they change pictures as much as another one does."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from intaglio.images.filters import blurred, jpeg, medians, noised
from intaglio.images.image_set import to_uint8
from intaglio.metrics.quality import psnr
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.purify.methods.round_trip import RoundTrip

Pictures = Float[Tensor, "n 3 h w"]
Treatment = Callable[[float], Pictures]
"""Pictures treated at a strength in [0, 1]: the stronger, the more they change."""
BEST = 95
"""Highest quality of JPEG."""
HALVINGS = 10
"""Of the range that a strength lies in."""
MOST = 99.0
"""PSNR in dB that equal pictures count as."""


def treatments(pictures: Pictures, model: LatentDiffusion, seed: int) -> dict[str, Treatment]:
    """Of pictures, by name.

    Median and round trip have no strength of their own: a share of their change is taken. So it is of JPEG up to half
    the strength, as its colours at half the sides are a change that no quality spares.
    """
    median, decoded, finest = medians(pictures, 3), RoundTrip().clean(pictures, model, seed), jpeg(pictures, BEST)

    def share(changed: Pictures, strength: float) -> Pictures:
        return pictures + strength * (changed - pictures)

    return {
        "jpeg": lambda strength: (
            share(finest, 2 * strength) if strength < 0.5 else jpeg(pictures, quality(2 * strength - 1))
        ),
        "median": lambda strength: share(median, strength),
        "blur": lambda strength: blurred(pictures, 0.1 + 1.4 * strength),
        "noise": lambda strength: noised(pictures, 0.2 * strength, seed),
        "round-trip": lambda strength: share(decoded, strength),
    }


def quality(strength: float) -> int:
    """Of JPEG: 95 to 1."""
    return BEST - round((BEST - 1) * strength)


def levelled(pictures: Pictures) -> Pictures:
    """Pictures as their 8-bit files have them."""
    return to_uint8(pictures).float() / 255


def mean_psnr(pictures: Pictures, others: Pictures) -> float:
    """The mean over pictures, dB."""
    return float(psnr(pictures, others).clamp(max=MOST).mean())


def matched(treatment: Treatment, pictures: Pictures, wanted: float) -> Pictures:
    """8-bit pictures, treated at the strength at which their PSNR to what they were comes nearest to `wanted`, dB.

    The full strength, where even that changes them less.
    """
    weak, strong = 0.0, 1.0
    found = {strength: levelled(treatment(strength)) for strength in (weak, strong)}
    if mean_psnr(found[strong], pictures) >= wanted:
        return found[strong]
    for _ in range(HALVINGS):
        middle = (weak + strong) / 2
        given = levelled(treatment(middle))
        if mean_psnr(given, pictures) >= wanted:
            found = {middle: given, strong: found[strong]}
            weak = middle
        else:
            found = {weak: found[weak], middle: given}
            strong = middle
    return min(found.values(), key=lambda one: abs(mean_psnr(one, pictures) - wanted))
