"""rrcm: the votes of a classifier that is told the noise level, and was trained to say the same at every level."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from intaglio.models.classifiers import PictureClassifier
from intaglio.protect.certify.family import Certifier


@dataclass(frozen=True, kw_only=True)
class RepresentationConsistency(Certifier):
    """rRCM: votes of a network that is told the noise level, and trained to agree along the noise.

    The classifier must be one that takes noise levels; it is told sigma with each noisy copy, and answers in one pass.
    It comes from two trainings: without labels, features of a picture at neighbouring noise levels must pick each other
    among those of other pictures; then labels are learnt from noisy copies. The embedded one was trained so, on noise
    of 0.1 to 0.55: outside that range it may call everything one class, whose radius
    says nothing. The guarantee is that of `smoothing`, whatever the training.

    Source: Lei et al., Robust Representation Consistency Model via Contrastive Denoising, arXiv 2501.13094.
    """

    tells_level: ClassVar[bool] = True

    def called(self, classifier: PictureClassifier, head: str, noisy: Float[Tensor, "m 3 h w"]) -> Float[Tensor, "m k"]:
        """The classifier's logits, told sigma."""
        return classifier.logits(noisy, head, self.sigma)
