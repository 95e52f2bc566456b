"""edited: a stored edit of what a module of the denoiser gives, at every step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, ClassVar

from jaxtyping import Float, Real
from torch import Tensor

from intaglio.errors import BadInput, require
from intaglio.models.capabilities import HasUNet
from intaglio.models.module_edits import module_at
from intaglio.sampling.calls import Calls
from intaglio.sampling.family import GuidedSampling, SamplingRequest
from intaglio.sampling.guide import GuideContext, Predict
from intaglio.sampling.guides.site_edit_guide import SiteEditGuide
from intaglio.sampling.site_edit import SiteEdit


@dataclass(frozen=True, kw_only=True)
class EditedSampling(GuidedSampling):
    """A stored edit inside the prompt's prediction, of `explain bias` or `explain directions`.

    At every step the output h of one module of the denoiser becomes h + strength * change, in the prediction for the
    prompt alone, under classifier-free guidance. An edit of several values leads each picture to one of them, drawn
    uniformly by its seed. A strength of 0 is plain sampling to the last bit.

    Source: the edits of arXiv 2503.20483 (codes) and arXiv 2303.11073 (directions).
    """

    needs: ClassVar[tuple[type, ...]] = (*GuidedSampling.needs, HasUNet)
    bench: ClassVar[Sequence[Mapping[str, Any]]] = ()

    edit: Path | None = None
    """The edit: a run of `explain bias` or its edit.safetensors, or a file edit-1.safetensors, with the number of the
    direction, of a run of `explain directions`; needed."""
    strength: float = 1.0
    """Factor of the change, a finite number; of a direction it is the strength itself, of other edits a multiple of
    that which they were found at."""

    def __post_init__(self) -> None:
        require(-inf < self.strength < inf, f"strength must be finite, not {self.strength}")

    def check(self, request: SamplingRequest) -> None:
        """As the family's, and for no edit, one that is not there, and one of another kind of model."""
        super().check(request)
        module_at(request.model.denoiser, self._read().site)

    def init(self, context: GuideContext) -> Any:
        """The guide at the context's scale, with its state."""
        guide = SiteEditGuide(context.scale, self._read().scaled(self.strength))
        return guide, guide.init(context)

    def step(
        self, state: Any, latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple[Any, Float[Tensor, "n *shape"]]:
        """The combined noise; the state never changes."""
        guide, inner = state
        return state, guide.step(inner, latents, t, predict)[1]

    def planned(self, request: SamplingRequest) -> Calls:
        """One call a node, two with guidance that is not the model's own."""
        alone = request.scale == 1 or request.model.sampling.guidance != "outside"
        return Calls(forward=request.nodes * (1 if alone else 2))

    def _read(self) -> SiteEdit:
        """The edit. Raises `BadInput` for none."""
        if self.edit is None:
            raise BadInput("there is no edit to draw with; give --edit RUN, a run of intaglio explain bias")
        if (found := SiteEdit.load(Path(self.edit))) is None:
            raise BadInput(f"{self.edit} has no edit; give a run of intaglio explain bias, or its edit.safetensors")
        return found
