"""smoothing: the votes of the classifier itself on noisy copies of a picture."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from intaglio.models.classifiers import PictureClassifier
from intaglio.protect.certify.family import Certifier


@dataclass(frozen=True, kw_only=True)
class Smoothing(Certifier):
    """Randomised smoothing: the class of most noisy copies of a picture, with its radius.

    The classifier is asked as it is. One that was never trained on noise calls noisy copies badly, and proves little:
    train it on pictures with noise of the same sigma. One that takes noise levels is told that there is no noise.

    Source: Cohen, Rosenfeld and Kolter, arXiv 1902.02918.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"

    def called(self, classifier: PictureClassifier, head: str, noisy: Float[Tensor, "m 3 h w"]) -> Float[Tensor, "m k"]:
        """The classifier's own logits."""
        return classifier.logits(noisy, head)
