"""Private training: the contract of a method that teaches a classifier pictures which are to stay private."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput, IntaglioError, require
from intaglio.images.image_set import ImageSet
from intaglio.learning.private import Key, poisson_batch
from intaglio.learning.private_budget import FULL_BELOW
from intaglio.metrics.privacy import PrivacyReport
from intaglio.models.classifiers import PictureClassifier
from intaglio.protect.private.classifier_learner import ClassifierLearner, Trained
from intaglio.protect.private.labelled_pictures import LabelledPictures
from intaglio.protect.private.result import PrivateClassifier, PrivateRecord
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.runs.steps import StepState, in_steps, stored_steps
from intaglio.runs.tensors import tensor_hash
from intaglio.verbs import FileName

STATE = "private training"
"""State of a run; it holds the secret of the noise, so that it is dropped once the result is stored."""
DECAYS, TINY = (0.9, 0.999), 1e-8
"""Of Adam: decays of the means of gradients and of their squares, and what is added to the root."""


@dataclass(frozen=True, eq=False)
class _Learned(StepState):
    """All weights that learn, in one row; the moments of Adam; the secret."""

    weights: Float[Tensor, "p"]
    mean: Float[Tensor, "p"]
    square: Float[Tensor, "p"]
    key: Key


@dataclass(frozen=True, kw_only=True)
class PrivateTrainer(ABC):
    """Training of a new head of a classifier on a few pictures of each class, with or without privacy of each picture.

    A method is a frozen dataclass of settings. It says what gradient a step takes of its pictures; Adam (arXiv
    1412.6980) follows it. The classifier that is given is left as it was found: the pictures that it was trained on are
    not those that are protected.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """What the training does, as the end of a sentence for people who know no formula."""

    trained: Trained = "head"
    """Weights that learn: head, a linear layer of the features; film, with it the scale and shift of every
    normalisation; all of them. Each further number takes noise of its own."""
    steps: int = 100
    """Updates of the weights, from 1."""
    learning_rate: float = 0.01
    """Rate of Adam, above 0."""
    batch: int = FULL_BELOW
    """Pictures of a step on average; as many as there are, or more, takes all of them in every step."""

    def __post_init__(self) -> None:
        require(self.trained in ("head", "film", "all"), f"trained must be head, film or all, not {self.trained!r}")
        require(self.steps >= 1, f"steps must be at least 1, not {self.steps}")
        require(0 < self.learning_rate < inf, f"learning_rate must be above 0, not {self.learning_rate}")
        require(self.batch >= 1, f"batch must be at least 1, not {self.batch}")

    @abstractmethod
    def secret(self) -> Key:
        """The key that draws of pictures and noise follow from."""

    @abstractmethod
    def report(self, records: int) -> PrivacyReport | None:
        """The guarantee for so many pictures; None where there is none."""

    @property
    def known_noise(self) -> bool:
        """Whether the noise can be drawn again, so that nothing is promised."""
        return False

    @abstractmethod
    def gradient(
        self, learner: ClassifierLearner, weights: Mapping[str, Tensor], chosen: Sequence[int], step: int, key: Key
    ) -> dict[str, Tensor]:
        """The gradient that a step takes of the chosen pictures, by the weights' names."""

    def __call__(
        self, classifier: PictureClassifier, head: str, classes: Mapping[str, ImageSet], *, run: Run = Run.none()
    ) -> PrivateClassifier:
        """A classifier with one head, which tells the given classes.

        Args:
            classifier: in evaluation mode, whose features are used.
            head: name of the new head, an identifier.
            classes: pictures by class, two classes or more; each picture once.
            run: progress and state; a killed call goes on after the last state.

        Raises:
            BadInput: for a head's name that is none, for pictures as `LabelledPictures` says, and for privacy that
                cannot be promised.
            IntaglioError: for weights that are not finite.
        """
        if not head.isidentifier():
            raise BadInput(f"{head!r} is no name of a head; give letters, digits and _ to --head")
        pictures = LabelledPictures.of(classes)
        report = self.report(len(pictures))
        learner = ClassifierLearner.of(classifier, head, pictures, self.trained)
        weights = self._learned(learner, pictures, run)
        if not all(bool(one.isfinite().all()) for one in weights.values()):
            raise IntaglioError("the training left weights that are not finite; give a lower --learning-rate")
        return PrivateClassifier(
            learner.taught(weights),
            PrivateRecord(
                method=self.name,
                reading=self.reading,
                settings=asdict(self),
                head=head,
                classes=pictures.classes,
                report=report,
                known_noise=self.known_noise,
            ),
        )

    def _learned(self, learner: ClassifierLearner, pictures: LabelledPictures, run: Run) -> dict[str, Tensor]:
        """The weights after all steps."""
        begun = learner.begun()
        records, rate = len(pictures), min(1.0, self.batch / len(pictures))

        def named(flat: Float[Tensor, "p"]) -> dict[str, Tensor]:
            parts = flat.split([one.numel() for one in begun.values()])
            return {name: part.view_as(begun[name]) for name, part in zip(begun, parts, strict=True)}

        def step(state: _Learned) -> _Learned:
            chosen = poisson_batch(records, rate, state.step, state.key)
            found = self.gradient(learner, named(state.weights), chosen, state.step, state.key)
            return self._moved(state, torch.cat([found[name].flatten() for name in begun]))

        flat = torch.cat([one.flatten() for one in begun.values()])
        start = _Learned(0, flat, torch.zeros_like(flat), torch.zeros_like(flat), self.secret())
        weights = {name: tensor_hash(one) for name, one in learner.student.state_dict().items()}
        match = {"work": digest([asdict(self), weights, list(pictures.hashes), pictures.labels.tolist()])}
        with run.progress(self.steps, "steps", stored_steps(run, STATE, match)) as progress:
            end = in_steps(
                run, STATE, match, start, step, steps=self.steps, noted=lambda before, after: progress.advance()
            )
        return named(end.weights)

    def _moved(self, state: _Learned, gradient: Float[Tensor, "p"]) -> _Learned:
        """The state after a step of Adam."""
        done = state.step + 1
        mean = DECAYS[0] * state.mean + (1 - DECAYS[0]) * gradient
        square = DECAYS[1] * state.square + (1 - DECAYS[1]) * gradient**2
        first, second = mean / (1 - DECAYS[0] ** done), square / (1 - DECAYS[1] ** done)
        weights = state.weights - self.learning_rate * first / (second.sqrt() + TINY)
        return replace(state, step=done, weights=weights, mean=mean, square=square)
