"""Components of a drawing that can be switched on or left at their neutral form: weights, adapters, words, guidance."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from intaglio.models.diffusion.adapted import Adapted
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.lora.lora import LoRA


@dataclass(frozen=True, eq=False)
class Drawing:
    """A model, its prompts and the scale of its guidance: all that components change."""

    model: LatentDiffusion
    prompts: tuple[str, ...]
    """One or more; picture k is drawn from the k-th, from the first on again."""
    scale: float
    """Guidance scale, 1 for none."""


class DrawingComponent(ABC):
    """A part of a drawing that is switched on, or off: then the drawing is as if there were no such part."""

    rank: ClassVar[int] = 1
    """Components of a lower rank are switched on before: weights are replaced before adapters act beside them."""

    @abstractmethod
    def on(self, drawing: Drawing) -> Drawing:
        """The drawing with this component."""


@dataclass(frozen=True, eq=False)
class TunedWeights(DrawingComponent):
    """All weights of a fine-tuned model in place of the base's."""

    model: LatentDiffusion
    rank: ClassVar[int] = 0

    def on(self, drawing: Drawing) -> Drawing:
        """The tuned model draws."""
        return replace(drawing, model=self.model)


@dataclass(frozen=True, eq=False)
class Adapter(DrawingComponent):
    """A LoRA, whose change is added to the weights."""

    lora: LoRA
    allow_unmatched: bool = False
    """Use the layers that fit, in place of an error on the rest."""

    def on(self, drawing: Drawing) -> Drawing:
        """The LoRA acts beside the model and the adapters that act already."""
        return replace(drawing, model=Adapted(drawing.model, self.lora, allow_unmatched=self.allow_unmatched))


@dataclass(frozen=True)
class AddedWords(DrawingComponent):
    """Words at the end of every prompt, such as a style's name."""

    text: str

    def on(self, drawing: Drawing) -> Drawing:
        """Every prompt ends with the words."""
        return replace(drawing, prompts=tuple(f"{one}{self.text}" for one in drawing.prompts))


@dataclass(frozen=True)
class GuidanceScale(DrawingComponent):
    """Classifier-free guidance; without it the scale is 1, the model's prediction under the prompt alone."""

    scale: float

    def on(self, drawing: Drawing) -> Drawing:
        """Guided by the scale."""
        return replace(drawing, scale=self.scale)


def with_components(drawing: Drawing, components: Sequence[DrawingComponent], coalition: int) -> Drawing:
    """The drawing with those components switched on whose bit is set in `coalition`."""
    chosen = [one for i, one in enumerate(components) if coalition >> i & 1]
    for one in sorted(chosen, key=lambda one: one.rank):
        drawing = one.on(drawing)
    return drawing
