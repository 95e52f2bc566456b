"""Masks that a network learns together with the classifier that sees what they show."""

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from intaglio.errors import require
from intaglio.explain.selectors.family import SELECTOR_STATE, PixelSelector, TaughtMasks
from intaglio.explain.selectors.labelled_lessons import HEAD, LabelledLessons, taught
from intaglio.explain.selectors.shown_pixels import Fill, Masks, Pixels, shown
from intaglio.learning.loop import StepLoss
from intaglio.models.classifiers import PictureClassifier
from intaglio.models.picture_selectors import PictureSelector, new_selector
from intaglio.randomness import generator
from intaglio.runs.run import Run

Number = Float[Tensor, ""]


@dataclass(frozen=True, eq=False)
class MaskLosses:
    """Terms of a batch's loss."""

    told: Number
    """Cross-entropy of the predictor on what is shown."""
    left: Number
    """What the method adds for that which is left out, weighted."""
    area: Number
    """Mean over pictures of the area beyond that which is allowed, weighted."""


@dataclass(frozen=True, kw_only=True)
class LearntMasks(PixelSelector):
    """A selector, a U-Net with a sigmoid, that learns beside its predictor."""

    area_weight: float = 100.0
    """Weight of the area beyond that which is allowed (lambda_m), 0 or more."""
    selector_widths: tuple[int, ...] = (16, 32, 64)
    """Channels of each level of the selector, of which each but the first halves the side; 1 to 4096, at most 8."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.area_weight < math.inf, f"area_weight must not be negative: {self.area_weight}")
        sound = 1 <= len(self.selector_widths) <= 8 and all(1 <= width <= 4096 for width in self.selector_widths)
        require(sound, f"selector_widths must be 1 to 8 numbers, each of 1 to 4096, not {self.selector_widths}")

    @abstractmethod
    def left_loss(self, plain: PictureClassifier, left: Pixels, labels: Int[Tensor, "n"], told: Number) -> Number:
        """The term for what is left out of the pictures, of which the plain classifier is not to know the labels.

        Args:
            plain: frozen.
            left: what is left out.
            labels: of the pictures.
            told: cross-entropy of the predictor on what is shown.
        """

    def losses(
        self,
        masks: Masks,
        pixels: Pixels,
        labels: Int[Tensor, "n"],
        fill: Fill,
        predictor: PictureClassifier,
        plain: PictureClassifier,
    ) -> MaskLosses:
        """Terms of the loss of pictures that these masks show."""
        told = cross_entropy(predictor.logits(shown(pixels, masks, fill), HEAD), labels)
        left = self.left_loss(plain, shown(pixels, 1 - masks, fill), labels, told)
        return MaskLosses(told, left, self.area_weight * (masks.mean((1, 2)) - self.area).clamp_min(0).mean())

    def learn(self, lessons: LabelledLessons, plain: PictureClassifier, run: Run) -> TaughtMasks:
        """See the family: both networks take one step for each batch, each along the gradient of its own loss."""
        drawn = int(torch.randint(2**31, (1,), generator=generator(lessons.seed, "network", "selector")))
        selector = new_selector(drawn, self.selector_widths).to(lessons.device).train()
        predictor = lessons.classifier(self.widths, "predictor")
        chosen, answering = list(selector.parameters()), list(predictor.parameters())

        def objective(step: int) -> StepLoss:
            pixels, labels = lessons.batch(step, self.rows, SELECTOR_STATE)
            terms = self.losses(selector(pixels), pixels, labels, lessons.fill, predictor, plain)
            whole = terms.told + terms.left + terms.area
            for weights, loss in ((answering, terms.told), (chosen, whole)):
                gradients = torch.autograd.grad(loss, weights, retain_graph=weights is answering)
                for weight, gradient in zip(weights, gradients, strict=True):
                    weight.grad = gradient
            return StepLoss(
                float(whole.detach()), {"told": float(terms.told.detach()), "left": float(terms.left.detach())}
            )

        taught(*_named(selector, predictor), objective, lessons, self.pace, SELECTOR_STATE, run)
        selector.eval()
        return TaughtMasks(predictor.eval(), selector, selector)


def _named(selector: PictureSelector, predictor: PictureClassifier) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """All weights of both networks by name, and all numbers that they change themselves."""
    both = {"selector": selector, "predictor": predictor}
    weights = {f"{part}.{name}": one for part, net in both.items() for name, one in net.named_parameters()}
    return weights, {f"{part}.{name}": one for part, net in both.items() for name, one in net.named_buffers()}
