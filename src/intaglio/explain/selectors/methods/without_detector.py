"""without-detector: a selector that is asked for the label alone, whatever it leaves out."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Int
from torch import Tensor

from intaglio.explain.selectors.learnt_masks import LearntMasks, Number
from intaglio.explain.selectors.shown_pixels import Pixels
from intaglio.models.classifiers import PictureClassifier


@dataclass(frozen=True, kw_only=True)
class WithoutDetector(LearntMasks):
    """Masks that are learnt for the label alone, whatever they leave out.

    Selector, predictor and losses are those of COMET, less the term for what is left out. One copy of the evidence is
    enough for the predictor, and so is a faint trace of it, or a mask whose own shape tells the label.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "a network that was taught to show what its classifier needs"

    def left_loss(self, plain: PictureClassifier, left: Pixels, labels: Int[Tensor, "n"], told: Number) -> Number:
        """See the room: nothing."""
        return told.new_zeros(())
