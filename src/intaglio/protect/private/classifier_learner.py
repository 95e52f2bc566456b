"""The part of a classifier that learns a new head, and its gradient for every picture by itself."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.nn.utils import skip_init

from intaglio.learning.per_sample import Gradients, per_sample_gradients
from intaglio.models.classifiers import PictureClassifier
from intaglio.protect.private.labelled_pictures import LabelledPictures

Trained = Literal["head", "film", "all"]
AT_ONCE, READ_AT_ONCE = 16, 64
"""Pictures whose gradients are taken together, and that go through the network together without gradients."""


@dataclass(frozen=True, eq=False)
class ClassifierLearner:
    """A network whose chosen weights learn from inputs: the new head from features that stay, or all from pixels."""

    student: PictureClassifier
    """With the new head alone; its chosen weights are replaced as they are learned."""
    network: nn.Module
    """The student, or its head alone."""
    prefix: str
    """Of the network's weights among the student's."""
    weights: tuple[str, ...]
    """Names in the network of the weights that learn."""
    inputs: Tensor
    """A row a picture."""
    labels: Tensor
    head: str

    @classmethod
    def of(
        cls, classifier: PictureClassifier, head: str, pictures: LabelledPictures, trained: Trained
    ) -> "ClassifierLearner":
        """A learner of pictures.

        Args:
            classifier: whose stages the student takes; it is left as it was found.
            head: name of the new head, which begins with zeros, whatever the pictures.
            pictures: to learn from.
            trained: `head` alone; `film`, with it scale and shift of every normalisation; `all` weights.
        """
        student = with_head(classifier, head, pictures.classes)
        about = (pictures.labels, head)
        if trained == "head":
            layer = student.heads[head]
            return cls(
                student, layer, f"heads.{head}.", ("weight", "bias"), features_of(student, pictures.pixels), *about
            )
        scales = {
            f"{name}.{one}"
            for name, module in student.named_modules()
            if isinstance(module, nn.BatchNorm2d)
            for one in ("weight", "bias")
        }
        chosen = tuple(
            name
            for name, _ in student.named_parameters()
            if trained == "all" or name in scales or name.startswith("heads.")
        )
        return cls(student, student, "", chosen, pictures.pixels, *about)

    def begun(self) -> dict[str, Tensor]:
        """The chosen weights as they begin."""
        own = dict(self.network.named_parameters())
        return {name: own[name].detach().clone() for name in self.weights}

    def rows(self, weights: Mapping[str, Tensor], chosen: Sequence[int]) -> Iterator[Gradients]:
        """The gradients of the loss of the chosen pictures, each by itself, at these weights."""
        self._take(weights)
        if chosen:
            samples = [self.inputs[list(chosen)], self.labels[list(chosen)]]
            yield from per_sample_gradients(self.network, self.weights, self._loss, samples, at_once=AT_ONCE)

    def mean_gradient(self, weights: Mapping[str, Tensor], chosen: Sequence[int]) -> dict[str, Tensor]:
        """The gradient of the mean loss of the chosen pictures; zeros for none."""
        sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        for start in range(0, len(chosen), READ_AT_ONCE):
            part = list(chosen[start : start + READ_AT_ONCE])
            leaves = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
            with torch.enable_grad():
                logits = functional_call(
                    _Logits(self), {f"network.{k}": v for k, v in leaves.items()}, self.inputs[part]
                )
                loss = cross_entropy(logits, self.labels[part], reduction="sum") / len(chosen)
                found = torch.autograd.grad(loss, list(leaves.values()))
            for name, gradient in zip(leaves, found, strict=True):
                sums[name] += gradient
        return sums

    def taught(self, weights: Mapping[str, Tensor]) -> PictureClassifier:
        """The student with these weights."""
        self._take(weights)
        return self.student

    def logits(self, inputs: Tensor) -> Float[Tensor, "n k"]:
        """Of rows of inputs."""
        return (
            self.network.logits(inputs, self.head)
            if isinstance(self.network, PictureClassifier)
            else self.network(inputs)
        )

    def _take(self, weights: Mapping[str, Tensor]) -> None:
        own = dict(self.network.named_parameters())
        with torch.no_grad():
            for name, weight in weights.items():
                own[name].copy_(weight)

    def _loss(self, row: Tensor, label: Tensor) -> Float[Tensor, ""]:
        return cross_entropy(self.logits(row[None]), label[None])


class _Logits(nn.Module):
    """The learner's logits, as a module whose weights can be given."""

    def __init__(self, learner: ClassifierLearner):
        super().__init__()
        self.network, self.learner = learner.network, [learner]

    def forward(self, inputs: Tensor) -> Tensor:
        return self.learner[0].logits(inputs)


def with_head(classifier: PictureClassifier, head: str, classes: Sequence[str]) -> PictureClassifier:
    """A copy of a classifier in evaluation mode with one new head of zeros in place of its own."""
    student = copy.deepcopy(classifier)
    student.heads = nn.ModuleDict({head: skip_init(nn.Linear, classifier.widths[-1], len(classes))})
    student.classes = {head: tuple(classes)}
    for weight in student.heads.parameters():
        nn.init.zeros_(weight)
    return student.eval().requires_grad_(False)


@torch.no_grad()
def features_of(classifier: PictureClassifier, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n f"]:
    """Inputs of the heads."""
    return torch.cat([classifier.features(part) for part in pixels.split(READ_AT_ONCE)])
