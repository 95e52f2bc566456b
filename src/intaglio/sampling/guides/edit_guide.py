"""Classifier-free guidance with edits inside the prompt's own prediction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Real
from torch import Tensor

from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.module_edits import ModuleEdit, edited, module_at
from intaglio.sampling.grid import level_at, timestep_of
from intaglio.sampling.guide import GuideContext, Predict
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.step import clean_estimate

State = tuple[LatentDiffusion, Conditioning]


@dataclass(frozen=True, eq=False)
class EditGuide:
    """`ClassifierFree` whose prediction for the prompt is edited; that for the negative prompt is not.

    Both go through the network in the one batch of `ClassifierFree`, of whose rows hooks touch those of the prompt
    alone. An edit that gives back what it is given therefore changes no bit of a picture.
    """

    scale: float = 5.0
    """Of guidance; 1 is none, and the prompt's prediction alone is asked for."""
    edits: Sequence[ModuleEdit] = ()
    """Of modules of the denoiser."""
    change_clean: Callable[[Tensor, int | float], Tensor] | None = None
    """Of the clean latents [n, c, h, w] that the prompt's noise speaks for, at a timestep: those in their place."""

    def init(self, context: GuideContext) -> State:
        """The state is the model with the conditioning of one pass. Raises `BadInput` for a module that there is not.

        The conditioning is that of `ClassifierFree`.
        """
        for one in self.edits:
            module_at(context.model.denoiser, one.site)
        return context.model, ClassifierFree(self.scale).init(context)

    def step(
        self, state: State, latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple[State, Float[Tensor, "n *shape"]]:
        """The combined noise; the state never changes."""
        model, given = state

        def asked(both: Tensor, times: Tensor, conditioning: Conditioning) -> Tensor:
            first = len(both) - len(latents)
            with edited(model.denoiser, self.edits, timestep_of(t), slice(first, len(both))):
                noise = predict(both, times, conditioning)
            if self.change_clean is None:
                return noise
            return torch.cat([noise[:first], self._moved(model, noise[first:], latents, t)])

        return state, ClassifierFree(self.scale).step(given, latents, t, asked)[1]

    def _moved(self, model: LatentDiffusion, noise: Tensor, latents: Tensor, t: Tensor) -> Tensor:
        """The noise that speaks for the changed clean latents."""
        change: Any = self.change_clean
        level = level_at(model.schedule, timestep_of(t))
        clean = clean_estimate(latents, noise, level)
        return noise - (change(clean, level.t) - clean) / level.ratio
