"""comet: a selector whose left-out pixels leave a frozen classifier without the label."""

import math
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from intaglio.errors import require
from intaglio.explain.selectors.labelled_lessons import HEAD
from intaglio.explain.selectors.learnt_masks import LearntMasks, Number
from intaglio.explain.selectors.shown_pixels import Pixels
from intaglio.models.classifiers import PictureClassifier


@dataclass(frozen=True, kw_only=True)
class Comet(LearntMasks):
    """COMET: a mask shows all that tells the label, so that a detector is left without it.

    A selector G makes masks m = sigmoid(G(x)), a predictor P sees what they show, x_m, and a detector D, the plain
    classifier, which has learnt before and stays as it is, sees what they leave out, x_(1 - m). P follows its
    cross-entropy CE(P(x_m), y) alone; G follows, with P as it is,

        CE(P(x_m), y) + completeness max(0, CE(P(x_m), y) - CE(D(x_(1 - m)), y) + margin)
            + area_weight mean_i max(0, mean(m_i) - area)

    over a batch. Two copies of the same evidence are both shown: with one of them left out, D would still know. D
    normalises by what it learnt, not by the batch, and half of what it learns has holes (`holes`, ours): one that has
    seen whole pictures alone is deceived by a few missing pixels. In the published loop neither is so, and the area is
    divided by 224 x 224.

    Source: COMET (completeness through a detector), its public code, with completeness 4, margin 2, area_weight 100,
    area 0.6.
    """

    reading: ClassVar[str] = "a network that was taught to show all that tells the label"

    completeness: float = 4.0
    """Weight of the term for what is left out (lambda_c), 0 or more."""
    margin: float = 2.0
    """Cross-entropy by which the detector is to be further from the label than the predictor (g), 0 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.completeness < math.inf, f"completeness must not be negative: {self.completeness}")
        require(0 <= self.margin < math.inf, f"margin must not be negative: {self.margin}")

    def left_loss(self, plain: PictureClassifier, left: Pixels, labels: Int[Tensor, "n"], told: Number) -> Number:
        """See the room: the hinge on the difference of cross-entropies."""
        found = cross_entropy(plain.logits(left, HEAD), labels)
        return self.completeness * (told - found + self.margin).clamp_min(0)
