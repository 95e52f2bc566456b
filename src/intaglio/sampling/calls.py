"""`Calls`: how often networks are asked while pictures are drawn, in rows of a batch."""

from collections.abc import Callable
from dataclasses import astuple, dataclass
from math import ceil

from jaxtyping import Float, Real
from torch import Tensor

from intaglio.models.diffusion.conditioning import Conditioning

Predict = Callable[[Tensor, Tensor, Conditioning], Tensor]
"""(latents [n, ...], t [n], conditioning of n rows) to the noise [n, ...]; `LatentDiffusion.predict`."""


BACKWARD = 2
"""Time of a gradient through the denoiser over that of a call."""


@dataclass
class Calls:
    """Rows that went through networks: 4 pictures under classifier-free guidance are 8 forward rows a step."""

    forward: int = 0
    """Rows through a denoiser."""
    backward: int = 0
    """Rows back through a denoiser, for a gradient."""
    decodes: int = 0
    """Rows through the autoencoder, in either direction, beside the one decoding of each finished picture."""
    verifications: int = 0
    """Pictures that a verifier judged."""
    thousandths: int = 0
    """Rows through a part of a denoiser alone, each in thousandths of a call by its multiplications."""

    def counted(self, predict: Predict) -> Predict:
        """The same function; its rows are counted here, backward ones where a gradient comes through."""

        def calling(latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], given: Conditioning) -> Tensor:
            self.forward += len(latents)
            noise = predict(latents, t, given)
            if noise.requires_grad:
                noise.register_hook(self._back)
            return noise

        return calling

    def _back(self, gradient: Tensor) -> None:
        self.backward += len(gradient)

    def __add__(self, other: "Calls") -> "Calls":
        return Calls(*(one + two for one, two in zip(astuple(self), astuple(other), strict=True)))

    @property
    def cost(self) -> int:
        """In calls of the denoiser, of which a gradient takes the time of two; what is left of a call counts as one."""
        return self.forward + BACKWARD * self.backward + ceil(self.thousandths / 1000)

    def times(self, count: int) -> "Calls":
        """So many times as many."""
        return Calls(*(count * one for one in astuple(self)))

    def __str__(self) -> str:
        words = {"forward": "calls of the denoiser", "backward": "gradients through it", "decodes": "decodings"}
        words |= {"verifications": "judged pictures"}
        told = [f"{getattr(self, name):,} {what}" for name, what in words.items() if getattr(self, name)]
        if self.thousandths:
            told.append(f"parts of the denoiser worth {self.thousandths / 1000:,.1f} calls by their multiplications")
        return ", ".join(told) or "no calls"
