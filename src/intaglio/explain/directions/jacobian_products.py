"""Products of the Jacobian of a denoiser's noise by what a site of it gives, for one picture."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp, vjp
from torch.nn.attention import SDPBackend, sdpa_kernel

from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.module_edits import ModuleEdit, edited


@dataclass(frozen=True, eq=False)
class SiteJacobian:
    """J = d eps / d h of one picture: of the predicted noise by what the site gives; what passes the site by stays.

    The network is linearised where the picture's own walk is; it must be frozen.
    """

    model: LatentDiffusion
    site: str
    latents: Float[Tensor, "1 c hl wl"]
    """Noised ones, of the walk."""
    t: Tensor
    """Their timestep [1]."""
    given: Conditioning
    """The prompt's, one row."""
    value: Float[Tensor, "*shape"]
    """h, what the site gives there."""

    def forward(self, directions: Float[Tensor, "m *shape"]) -> Float[Tensor, "m q"]:
        """J v of m vectors v, by forward differentiation, on the CPU."""
        held = self._held(len(directions))
        with _differentiable():
            found = jvp(self._noise, (held,), (directions.to(held),))[1]
        return found.flatten(1).float().cpu()

    def backward(self, images: Float[Tensor, "m q"]) -> Float[Tensor, "m *shape"]:
        """U J of m vectors u, by backward differentiation, on the CPU."""
        held = self._held(len(images))
        with _differentiable():
            noise, back = vjp(self._noise, held)[:2]
            (found,) = back(images.reshape(noise.shape).to(noise))
        return found.float().cpu()

    def _held(self, count: int) -> Tensor:
        return self.value.to(self.model.device).expand(count, *self.value.shape).contiguous()

    def _noise(self, value: Tensor) -> Tensor:
        """The noise, if this is what the site gives in each row."""
        rows = [0] * len(value)
        with edited(self.model.denoiser, [ModuleEdit(self.site, lambda *_: value)], self.t[0].item()):
            return self.model.predict(self.latents[rows], self.t[rows], self.given[rows])


@contextmanager
def _differentiable() -> Iterator[None]:
    """Gradients on, and attention by plain products, which alone can be differentiated forwards."""
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
        # Of what torch itself does when it is first asked for a forward derivative.
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        yield
