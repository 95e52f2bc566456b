"""recompute: pictures drawn again from seed and settings, and compared number by number."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from intaglio.audit.inference.drawings.family import DrawingCheck
from intaglio.images.image_set import to_uint8


@dataclass(frozen=True, kw_only=True)
class Recompute(DrawingCheck):
    """Recomputation of a picture by the model that is said to have drawn it, and their difference.

    The distance is the mean of |given - drawn again| over all numbers of the picture in 8 bits, in grey levels. On the
    machine of the drawing it is 0; another one rounds otherwise. A picture by another seed, prompt or model lies tens
    of levels away, one by fewer steps or of a model in fewer bits perhaps only a few.

    The chance to miss all fakes is hypergeometric, and rests on nothing but the lot.
    """

    reading: ClassVar[str] = "the mean difference from the picture that the model draws now by the same settings"

    def distance(self, given: Float[Tensor, "3 h w"], drawn: Float[Tensor, "3 h w"]) -> float:
        """The mean absolute difference of the numbers as files have them."""
        return float((to_uint8(given).int() - to_uint8(drawn).int()).abs().double().mean())
