"""Certifiers: the contract of a classifier by votes of noisy pictures, and the radius that its votes prove."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import ceil
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.errors import BadInput, IntaglioError, require
from intaglio.images.image_set import ImageSet
from intaglio.models.classifiers import PictureClassifier
from intaglio.protect.certify.radius import certified_radius
from intaglio.protect.certify.result import ABSTAINED, CertifiedPicture, CertifiedPictures
from intaglio.randomness import generator
from intaglio.runs.picture_batches import in_batches
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.runs.tensors import tensor_hash
from intaglio.verbs import FileName

BLOCK = 50
"""Noisy copies of a picture that are drawn together, whatever the batch."""


@dataclass(frozen=True, kw_only=True)
class Certifier(ABC):
    """A classifier by the votes of noisy copies of a picture, whose class cannot change within a radius that it proves.

    With noise N(0, sigma^2) on every number of the picture, let p be the probability that a copy is called class A. By
    the Neyman-Pearson lemma no change of the picture of Euclidean length below sigma Phi^-1(p), p above 1/2, takes A
    from being the most probable class. A is the class that most of a first draw call; p is bounded below, at 1 - alpha,
    by the votes of a second draw (Clopper-Pearson); where the bound is not above 1/2, there is no verdict.

    A method is a frozen dataclass of settings; methods differ in the network that votes. Source: Cohen, Rosenfeld and
    Kolter, arXiv 1902.02918.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    tells_level: ClassVar[bool] = False
    """Whether the classifier is told the noise level, and must be one that takes it."""

    sigma: float = 0.25
    """Standard deviation of the noise on each number of a picture in [0, 1], above 0: more proves larger radii, and
    loses more pictures."""
    first: int = 100
    """Noisy copies of the first draw, by which the class is chosen, from 1."""
    votes: int = 1000
    """Noisy copies of the second draw, by which its probability is bounded, from 1. The largest radius that so many can
    prove grows with them: 2.46 sigma for 1,000 at the usual alpha."""
    alpha: float = 0.001
    """Probability, at most, that a proven radius is too large, for each picture; in (0, 1)."""
    batch: int = 250
    """Noisy copies that go through the network together, from 1; the result is the same, up to its rounding."""
    seed: int = 0
    """Seed of the noise, from 0; each picture has its own by its content."""

    def __post_init__(self) -> None:
        require(0 < self.sigma < float("inf"), f"sigma must be above 0, and finite, not {self.sigma}")
        for name in ("first", "votes", "batch"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        require(0 < self.alpha < 1, f"alpha must lie between 0 and 1, not {self.alpha}")
        require(0 <= self.seed < 2**62, f"seed must be 0 to 2**62 - 1, not {self.seed}")

    @abstractmethod
    def called(self, classifier: PictureClassifier, head: str, noisy: Float[Tensor, "m 3 h w"]) -> Float[Tensor, "m k"]:
        """Logits of noisy copies; they lie beyond [0, 1] too."""

    def check_classifier(self, classifier: PictureClassifier) -> None:
        """Raises `BadInput` for a classifier that takes no noise level, where the method tells one."""
        if self.tells_level and classifier.levels is None:
            raise BadInput(
                f"{self.name} tells the classifier the level of the noise, and this one takes none; give one that was "
                "trained with noise levels, or take the method smoothing"
            )

    def __call__(
        self, classifier: PictureClassifier, head: str, images: ImageSet, *, run: Run = Run.none()
    ) -> CertifiedPictures:
        """The class and the proven radius of each picture, or no verdict.

        Args:
            classifier: in evaluation mode; it is left as it was found.
            head: which of its heads calls.
            images: one or more.
            run: progress and records; a killed call goes on after the last picture.

        Raises:
            BadInput: for no pictures, for a head that there is not, and for a classifier that takes no noise level
                where the method tells one.
            IntaglioError: for logits that are not finite.
        """
        self.check_classifier(classifier)
        if not len(images):
            raise BadInput("there are no pictures to certify; give a folder with at least one to --images")
        if head not in classifier.classes:
            raise BadInput(f"the classifier has no head {head!r}; choose one of: {', '.join(classifier.classes)}")
        settings = {name: value for name, value in asdict(self).items() if name not in ("batch", "alpha")}
        weights = {name: tensor_hash(one) for name, one in classifier.state_dict().items()}
        key = digest([self.name, settings, head, weights])

        def counted(part: ImageSet) -> dict[str, list[float]]:
            found = [
                self._votes(classifier, head, pixels, one) for pixels, one in zip(part.pixels, part.hashes, strict=True)
            ]
            return {"class": [float(a) for a, _ in found], "votes": [float(count) for _, count in found]}

        numbers = in_batches(run, self.name, key, images, counted)
        return CertifiedPictures(
            self.name, head, tuple(classifier.classes[head]), self.sigma, self.votes, self.alpha,
            tuple(
                self._certified(name, int(a), int(count))
                for name, a, count in zip(images.names, numbers["class"], numbers["votes"], strict=True)
            ),
        )  # fmt: skip

    def _certified(self, name: str, most: int, count: int) -> CertifiedPicture:
        radius = certified_radius(count, self.votes, self.sigma, self.alpha)
        return CertifiedPicture(name, ABSTAINED if radius is None else most, most, count, radius)

    def _votes(
        self, classifier: PictureClassifier, head: str, pixels: Float[Tensor, "3 h w"], content: str
    ) -> tuple[int, int]:
        """The class of most copies of the first draw, and the copies of the second that are called so."""
        classes = len(classifier.classes[head])
        most = int(self._counts(classifier, head, pixels, (content, "first"), self.first, classes).argmax())
        return most, int(self._counts(classifier, head, pixels, (content, "votes"), self.votes, classes)[most])

    @torch.no_grad()
    def _counts(
        self,
        classifier: PictureClassifier,
        head: str,
        pixels: Float[Tensor, "3 h w"],
        labels: tuple[str, ...],
        copies: int,
        classes: int,
    ) -> Int[Tensor, "k"]:
        """Copies that are called each class."""
        counts = torch.zeros(classes, dtype=torch.long)
        device = next(classifier.parameters()).device
        for noise in self._noise(tuple(pixels.shape), labels, copies):
            logits = self.called(classifier, head, (pixels + noise).to(device))
            if not bool(logits.isfinite().all()):
                raise IntaglioError("the classifier's numbers are not finite; check its file")
            counts += torch.bincount(logits.argmax(1).cpu(), minlength=classes)
        return counts

    def _noise(
        self, shape: tuple[int, ...], labels: tuple[str, ...], copies: int
    ) -> Iterator[Float[Tensor, "m *shape"]]:
        """Noise of the copies, `batch` at a time, which follows from the seed and the picture alone."""
        waiting = torch.zeros(0, *shape)
        for block in range(ceil(copies / BLOCK)):
            drawn = torch.randn(BLOCK, *shape, generator=generator(self.seed, "certify", *labels, block))
            waiting = torch.cat([waiting, self.sigma * drawn[: copies - block * BLOCK]])
            while len(waiting) >= self.batch:
                yield waiting[: self.batch]
                waiting = waiting[self.batch :]
        if len(waiting):
            yield waiting
