"""timex: a mask whose masked series look to a second classifier as the whole ones look to the first."""

import copy
import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from intaglio.errors import require
from intaglio.explain.series.family import FoundPoints, SeriesExplainer
from intaglio.explain.series.landmarks import nearest_landmarks
from intaglio.explain.series.mask_losses import answer_gap, breaks, embedding_gap, size_loss
from intaglio.explain.series.series_network import MaskNetwork, Series, SeriesNetwork
from intaglio.explain.series.taught_series import CLASSIFIER, SeriesLessons, encoded, taught
from intaglio.learning.loop import StepLoss
from intaglio.randomness import first_weights, generator
from intaglio.runs.run import Run

NAME = "masks"
"""Of the training and its state."""


@dataclass(frozen=True, kw_only=True)
class TimeX(SeriesExplainer):
    """TimeX: masks under which a copy of the classifier sees series as the classifier sees them whole.

    A mask network reads the series and the classifier's embedding of each time, and gives each point a probability p of
    being kept. Masks are drawn from p (binary, by a logistic variable, the gradient passing as that of its sigmoid),
    and points that are not kept are replaced by draws. The copy of the classifier learns along. Over pairs of series of
    a step, both are to be told apart alike:

        mean (cos(z_i, z_j) - cos(z'_i, z'_j))^2 + answer_weight mean (JS(y_i, y_j) - JS(y'_i, y'_j))^2
            + size_weight (mean KL(p || share) + break_weight mean |p_t - p_(t-1)|)

    with embeddings z and answers y of whole series, z' and y' of masked ones. The importance of a point is p. The
    published change of p from one time to the next is a norm of a whole batch over its size; here it is a mean over
    points, which weighs more, so that the default weight is lower; with the published share and weight of the size
    masks kept two thirds of the points of planted spikes, and ranked them badly. A mask is the same whatever class is
    asked about. Attention masks for series of one channel are not built: their points are replaced as all others are.

    Landmarks are typical embeddings of masked series: each explained series belongs to its nearest, so that a few masks
    stand for many. They are learnt once the masks are, so that masks are the same with them and without, as moving
    means of the embeddings that a draw by cosines assigns to them; those of no series, and of two alike one, are
    dropped. The published 50 are learnt along with the masks, detached from them, by the loss of embeddings. Cosines
    are here about the mean of all embeddings and over 0.01; the published draw is of cosines as they are, and 0.1 is of
    its gradient. To be embedded, a series has the mean of its time and channel in the share that is not kept.

    Source: Queen, Hartvigsen, Koker, He, Tsiligkaridis and Zitnik, arXiv 2306.02109, with share 0.5, size_weight 2 and
    break_weight 2 for planted spikes.
    """

    reading: ClassVar[str] = "the probability that a learnt mask keeps the point"
    states: ClassVar[tuple[str, ...]] = (CLASSIFIER, NAME)

    mask_updates: int = 400
    """Updates of the masks and of the classifier's copy, from 1."""
    share: float = 0.1
    """Probability r that the points' probabilities are pulled to, above 0 and below 1."""
    answer_weight: float = 1.0
    """Weight of the answers beside the embeddings, 0 or more."""
    size_weight: float = 0.2
    """Weight of the distance from `share` (beta_e), 0 or more."""
    break_weight: float = 0.1
    """Weight of its breaks beside its size (lambda_c), 0 or more."""
    temperature: float = 1.0
    """Of the sigmoid that the gradient passes, above 0."""
    landmarks: int = 10
    """Landmarks that masked series are grouped about, at most; 0 or 2 and more, where 0 makes no groups."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.mask_updates >= 1, f"mask_updates must be at least 1, not {self.mask_updates}")
        require(0 < self.share < 1, f"share must be above 0 and below 1, not {self.share}")
        require(0 < self.temperature < math.inf, f"temperature must be above 0, not {self.temperature}")
        require(self.landmarks >= 0 and self.landmarks != 1, f"landmarks must be 0, or 2 or more, not {self.landmarks}")
        for name in ("answer_weight", "size_weight", "break_weight"):
            require(0 <= getattr(self, name) < math.inf, f"{name} must be 0 or more, not {getattr(self, name)}")

    def importances(
        self, network: SeriesNetwork, lessons: SeriesLessons, values: Series, called: Int[Tensor, "m"], run: Run
    ) -> Series:
        """See the room."""
        return self.found(network, lessons, values, called, run).importances

    def found(
        self, network: SeriesNetwork, lessons: SeriesLessons, values: Series, called: Int[Tensor, "m"], run: Run
    ) -> FoundPoints:
        """See the room: the landmarks as well."""
        masks, second = self._learnt(network, lessons, run)
        kept = self._kept(network, masks, values)
        if not self.landmarks:
            return FoundPoints(kept)
        middle, others = lessons.values.mean(0), self._kept(network, masks, lessons.values)
        learnt, asked = (
            encoded(second, torch.lerp(middle.expand_as(one), one, share), self.batch).pooled
            for one, share in ((lessons.values, others), (values, kept))
        )
        return FoundPoints(kept, nearest_landmarks(learnt, lessons.codes, asked, self.landmarks, self.seed))

    @torch.no_grad()
    def _kept(self, network: SeriesNetwork, masks: MaskNetwork, values: Series) -> Series:
        """The probability that each point is kept."""
        return torch.cat([masks(one, network(one).sequence).sigmoid() for one in values.split(self.batch)])

    def seconds(self, learnt: int, held: int, points: int, step: float, row: float) -> float:
        """Two networks in every step; where there are landmarks, all series are masked and encoded."""
        masked = 3 * row * (learnt + held) if self.landmarks else 0.0
        return 2 * step * self.mask_updates * min(self.rows, learnt) + 2 * row * held + masked

    def _learnt(self, network: SeriesNetwork, lessons: SeriesLessons, run: Run) -> tuple[MaskNetwork, SeriesNetwork]:
        pace = replace(self.pace, updates=self.mask_updates)
        with first_weights(self.seed, NAME):
            masks = MaskNetwork(lessons.values.shape[2], self.width, self.layers)
        second = copy.deepcopy(network).requires_grad_(True)
        whole = encoded(network, lessons.values, self.batch)

        def objective(step: int) -> StepLoss:
            some = lessons.places(step, pace, NAME)
            values = lessons.values[some]
            logits = masks(values, whole.sequence[some])
            source = generator(self.seed, NAME, step)
            kept = drawn_mask(logits, self.temperature, source)
            seen = second(torch.lerp(lessons.replacements(len(values), source), values, kept))
            told = embedding_gap(whole.pooled[some], seen.pooled)
            parts = {
                "embeddings": told,
                "answers": self.answer_weight * answer_gap(whole.logits[some], seen.logits),
                "size": self.size_weight * size_loss(logits, self.share),
                "breaks": self.size_weight * self.break_weight * breaks(logits),
            }
            loss = torch.stack(list(parts.values())).sum()
            loss.backward()
            return StepLoss(float(loss.detach()), {name: float(one.detach()) for name, one in parts.items()})

        both = nn.ModuleDict({"masks": masks, "second": second})
        taught(both, objective, lessons, pace, NAME, run)
        return masks, second


def drawn_mask(logits: Series, temperature: float, source: torch.Generator) -> Float[Tensor, "n t d"]:
    """Binary draws of probability sigmoid(logits), whose gradient is that of the relaxed draw's sigmoid."""
    uniform = torch.rand(logits.shape, generator=source).clamp(1e-6, 1 - 1e-6)
    soft = ((logits + torch.logit(uniform)) / temperature).sigmoid()
    return (soft > 0.5).to(soft) + soft - soft.detach()
