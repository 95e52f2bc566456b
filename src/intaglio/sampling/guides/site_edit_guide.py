"""Guidance with a stored edit inside the prompt's own prediction."""

from dataclasses import dataclass

from jaxtyping import Float, Real
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.module_edits import ModuleEdit
from intaglio.sampling.guide import GuideContext, Predict
from intaglio.sampling.guides.edit_guide import EditGuide, State
from intaglio.sampling.site_edit import SiteEdit


@dataclass(frozen=True, eq=False)
class SiteEditGuide:
    """`EditGuide` whose rows move towards the value that the edit draws for the seed of their picture."""

    scale: float
    """Of guidance; 1 is none."""
    edit: SiteEdit

    def init(self, context: GuideContext) -> tuple[EditGuide, State]:
        """The state is the guide of this batch with its own state.

        Raises `BadInput` for a module that there is not, and for a drawing whose pictures have no seeds.
        """
        if len(context.seeds) != len(context.prompts):
            raise BadInput("an edit draws a value for each picture's seed, which this way of drawing does not tell")
        towards = self.edit.towards(context.seeds)
        change = ModuleEdit(self.edit.site, lambda output, t: self.edit.edited(output, towards, t))
        guide = EditGuide(self.scale, (change,))
        return guide, guide.init(context)

    def step(
        self, state: tuple[EditGuide, State], latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple[tuple[EditGuide, State], Float[Tensor, "n *shape"]]:
        """The combined noise; the state never changes."""
        guide, inner = state
        return state, guide.step(inner, latents, t, predict)[1]
