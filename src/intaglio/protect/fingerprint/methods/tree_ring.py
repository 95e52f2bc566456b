"""tree-ring: a pattern in the low frequencies of the noise that a picture is drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Complex, Float
from scipy.stats import ncx2
from torch import Tensor

from intaglio.errors import BadInput, require
from intaglio.protect.fingerprint.family import MarkAgreement, NoiseMark
from intaglio.protect.fingerprint.mark_key import MarkKey


@dataclass(frozen=True, kw_only=True)
class TreeRing(NoiseMark):
    """Tree-Ring: a disc of the starting noise's Fourier coefficients is replaced by the key's.

    With Y the discrete Fourier transform of a channel of h x w cells and K the key's, whose disc |frequency| <= radius
    takes the place of the noise's. Both are transforms of real arrays, so that coefficients at opposite frequencies are
    conjugates and one of each pair, the set H, says all; S are those that are their own opposites, such as the
    constant. For a reading of unit noise

        T = sum_H 2 |Y - K|^2 / (h w) + sum_S (Y - K)^2 / (h w)

    has the noncentral chi-squared law of 2 |H| + |S| degrees of freedom, and noncentrality the same sum of |K|^2, added
    over channels; p is its lower tail. Inverted noise is not quite unit noise: controls tell how far p holds.

    Source: arXiv 2305.20030 (NeurIPS 2023): ring, radius 10 of 64 cells, one channel. Its rings are complex constants,
    half of whose energy the real part throws away, and its p-value counts both of each pair; ours does neither.
    """

    reading: ClassVar[str] = "the low frequencies of the noise that the picture was drawn from"
    null = "noise"

    radius: float = 0.25
    """Radius of the disc, as a share of the latents' shorter side, above 0 and below 0.5. Published: 10/64."""
    pattern: Literal["noise", "ring"] = "noise"
    """noise: the coefficients of unit noise of the key; ring: one real number a ring, which turning leaves as it is."""
    channels: tuple[int, ...] = ()
    """Channels of the latents that are marked, from 0; none named: all. Published: 3."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.radius < 0.5, f"radius must lie between 0 and 0.5, not {self.radius}")
        require(self.pattern in ("noise", "ring"), f"pattern must be noise or ring, not {self.pattern!r}")
        require(
            min(self.channels, default=0) >= 0 and len(set(self.channels)) == len(self.channels),
            f"channels must differ and be 0 or more, not {self.channels}",
        )

    def check_shape(self, shape: Sequence[int], what: str) -> None:
        """Raises `BadInput` for channels that the latents have not."""
        if max(self.channels, default=0) >= shape[0]:
            raise BadInput(
                f"{what} has latents of {shape[0]} channels, 0 to {shape[0] - 1}; name such as --channels, or none"
            )

    def marked(
        self, noise: Float[Tensor, "n c h w"], key: MarkKey, user: int, seeds: Sequence[int]
    ) -> Float[Tensor, "n c h w"]:
        """The noise with the key's coefficients in its disc."""
        chosen, found = self._chosen(noise.shape[1:]), noise.double().clone()
        wave = torch.fft.fft2(found[:, chosen])
        disc = _distance(noise.shape[-2:]) <= self.radius * min(noise.shape[-2:])
        wave[..., disc] = self._pattern(key, user, noise.shape[1:])[..., disc]
        found[:, chosen] = torch.fft.ifft2(wave).real
        return found.to(noise.dtype)

    def meant(self, key: MarkKey, users: Sequence[int], shape: Sequence[int]) -> Complex[Tensor, "k m"]:
        """The users' coefficients at one of each pair of frequencies in the disc, channel by channel."""
        inside = self._weight(shape[-2:]) > 0
        return torch.stack([self._pattern(key, user, shape)[..., inside].flatten() for user in users])

    def agreement(
        self, readings: Float[Tensor, "n c h w"], meant: Complex[Tensor, "k m"], key: MarkKey, nonce: int = 0
    ) -> MarkAgreement:
        """The distance T from each user's coefficients, and its lower tail."""
        weight = self._weight(readings.shape[-2:])
        inside, chosen = weight > 0, self._chosen(readings.shape[1:])
        waves = torch.fft.fft2(readings[:, chosen].double())[..., inside].flatten(1)
        weights = weight[inside].repeat(len(chosen))
        noncentral = (meant.abs() ** 2) @ weights
        cross = (waves * weights) @ meant.conj().T
        distance = ((waves.abs() ** 2) @ weights)[:, None] + noncentral[None] - 2 * cross.real
        freedom = round(float((weights * readings[0, 0].numel()).sum()))
        p = ncx2.cdf(distance.numpy(), freedom, noncentral.numpy())
        return MarkAgreement(torch.as_tensor(p), distance, None)

    def _chosen(self, shape: Sequence[int]) -> list[int]:
        return list(self.channels or range(shape[0]))

    def _pattern(self, key: MarkKey, user: int, latents: Sequence[int]) -> Complex[Tensor, "m h w"]:
        """The key's coefficients in the chosen channels, at all frequencies."""
        shape = (len(self._chosen(latents)), *latents[-2:])
        noise = torch.randn(shape, generator=key.generator("tree-ring", user), dtype=torch.float64)
        if self.pattern == "noise":
            return torch.fft.fft2(noise)
        rings = _distance(latents[-2:]).round().long()
        values = noise.flatten(1)[:, : int(rings.max()) + 1] * (shape[1] * shape[2]) ** 0.5
        return values[:, rings].to(torch.complex128)

    def _weight(self, size: Sequence[int]) -> Float[Tensor, "h w"]:
        """The factor of each squared difference in T, over h w: 2 for one of a pair, 1 for its own opposite, 0 else."""
        height, width = size
        inside = _distance(size) <= self.radius * min(size)
        place = torch.arange(height * width).view(height, width)
        opposite = place[-torch.arange(height) % height][:, -torch.arange(width) % width]
        first = torch.where(place < opposite, 2.0, torch.where(place == opposite, 1.0, 0.0)).double()
        return first * inside / (height * width)


def _distance(size: Sequence[int]) -> Float[Tensor, "h w"]:
    """The distance of each frequency from the constant, in the order of the transform."""
    rows, columns = (torch.fft.fftfreq(side, dtype=torch.float64) * side for side in size)
    return (rows[:, None] ** 2 + columns[None] ** 2).sqrt()
