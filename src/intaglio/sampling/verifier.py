"""The contract of verifiers, which score drawn pictures for a search or a judgement."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Verifier(Protocol):
    """Scores pictures; higher is better.

    A picture that it has no finite answer to is given NaN, which costs that picture alone. Where `differentiable` is
    true, gradients flow from scores to pixels.
    """

    @property
    def name(self) -> str:
        """Its name in reports, as it is given on a command line."""
        ...

    @property
    def hash(self) -> str:
        """64 hex digits that change with its weights and settings."""
        ...

    @property
    def differentiable(self) -> bool:
        """Whether a gradient reaches the pixels."""
        ...

    @property
    def calls(self) -> int:
        """Calls of a denoiser for each picture."""
        ...

    def __call__(self, pixels: Float[Tensor, "n 3 h w"], prompts: Sequence[str]) -> Float[Tensor, "n"]:
        """Scores of pictures in [0, 1], drawn from these prompts; float32 on the CPU."""
        ...
