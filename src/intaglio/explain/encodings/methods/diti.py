"""diti: numbers in slots of noise levels, those of a slot given there and at all noisier levels."""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.explain.encodings.family import SlottedEncoding
from intaglio.explain.encodings.noise_slots import NoiseSlots, confused_ends, even_ends, even_sizes

Split = Literal["confused", "even"]


@dataclass(frozen=True, kw_only=True)
class DiTi(SlottedEncoding):
    """DiTi: numbers in slots of noise levels, each to make up what is lost there.

    They are given from their slot on. Noise takes from pictures first what tells close ones apart. The numbers z are
    cut into k slots, as are the timesteps; at a timestep of slot i the gradient network is given the numbers of slots 1
    to i, and those of later slots are 0. Slot i is thus the first that can make up what is lost at its noise levels.
    The published slots are even, or chosen by hand; `confused` lays them so that over each the probability that two
    pictures are confused, 1/2 erfc(sqrt(alphabar) d / (2 sqrt(2) sqrt(1 - alphabar))), rises as much, a mean over the
    principal directions of the latents, d being the distance of two pictures in such a direction. The published
    gradient network is a trainable copy of the denoiser's middle block and up half, and reads z in its embedding of the
    timestep; here it is a small U-Net of its own, and reads z laid out as maps beside the latents, too. The published
    contrastive terms, whose weight is 0 in the shipped settings, are left out.

    Source: Yue, Wang, Sun, Ji, Chang and Zhang, arXiv 2401.11430.
    """

    reading: ClassVar[str] = "the numbers of its slot and of all slots of less noise"

    parts: int = 16
    """Slots k, 1 to `numbers`."""
    split: Split = "confused"
    """Timesteps of the slots: over each of which as much more is confused, or as many in each (even)."""
    stop_gradient: bool = True
    """Give the numbers of earlier slots without their gradients, so that each learns from its own slot alone, as in
    some of the published settings. Without it, numbers of early slots also learn what is lost later, whose loss weighs
    more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.parts <= self.numbers, f"parts must be 1 to the numbers, {self.numbers}, not {self.parts}")
        known = get_args(Split)
        require(self.split in known, f"split must be one of {', '.join(known)}, not {self.split!r}")

    def slots(self, confused: Float[Tensor, "t"]) -> NoiseSlots:
        """See the family."""
        even = self.split == "even"
        ends = even_ends(len(confused), self.parts) if even else confused_ends(confused, self.parts)
        return NoiseSlots(ends, even_sizes(self.numbers, self.parts))

    @property
    def detach(self) -> bool:
        """See the family."""
        return self.stop_gradient
