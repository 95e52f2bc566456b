"""`DenoiserCalls`: how often an audit asks a denoiser, at which batches, and whether a backward pass follows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Gradient = Literal["none", "input", "weights", "all weights"]


@dataclass(frozen=True)
class DenoiserCalls:
    """Calls of denoisers on pictures of one size; those of the suspect and of its base cost the same."""

    batches: Mapping[int, int] = field(default_factory=dict)
    """Calls, by the rows of latents in each."""
    gradient: Gradient = "none"
    """What a backward pass gives the gradient of, if one follows: the latents, the weights that the models differ in,
    or all weights of the denoiser."""
    encoded: int = 0
    """Pictures that the autoencoder encodes."""
    decoded: int = 0
    """Latents that it decodes."""

    @property
    def rows(self) -> int:
        """Rows of latents in all calls."""
        return sum(rows * calls for rows, calls in self.batches.items())


def in_micro_batches(groups: Iterable[int], micro_batch: int, times: int = 1) -> dict[int, int]:
    """Calls by their rows, where groups of so many rows go through a network at most `micro_batch` at a time.

    Args:
        groups: rows of each group, 1 or more.
        micro_batch: most rows of a call, 1 or more.
        times: how often every group is asked about.
    """
    found: dict[int, int] = {}
    for rows in groups:
        whole, rest = divmod(rows, micro_batch)
        for size, calls in ((micro_batch, whole), (rest, 1)):
            if size and calls:
                found[size] = found.get(size, 0) + calls * times
    return found


def batches_of(pictures: int, batch: int) -> list[int]:
    """Pictures of each batch, at most `batch`."""
    return [min(batch, pictures - first) for first in range(0, pictures, batch)]
