"""Checks of a service's answers: the contract of a method, and its fit by a student of the service."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.attribution.fitted_sources import plain_settings
from intaglio.audit.inference.attack_detector import Learnt
from intaglio.audit.inference.class_answers import Answers, bounded
from intaglio.audit.inference.fitted_check import FittedCheck, service_hash
from intaglio.audit.inference.service_student import (
    ServiceStudent,
    StudentSettings,
    distilled,
    probabilities,
    student_states,
)
from intaglio.audit.inference.varied_views import varied_views
from intaglio.errors import BadInput, IntaglioError
from intaglio.images.image_set import ImageSet
from intaglio.models.classifiers import PictureClassifier
from intaglio.randomness import seed_32bit
from intaglio.runs.run import Run
from intaglio.verbs import FileName

FEWEST = 8
"""Pictures of a fit, at least: four to learn from, two that teach the method, two held out."""


@dataclass(frozen=True, kw_only=True)
class ResultCheck(StudentSettings, ABC):
    """A check of answers that a classifier service gave, by a student of it that is asked the same.

    The known pictures are divided by content: half teach the student, a quarter teaches the method, and a quarter is
    held out. Answers of the service's own weights to these are clean; those that come from outside are judged by how
    unusual their score is among the held-out ones, which is a conformal p-value.

    A method is a frozen dataclass of settings, and says how a pair of answers is scored, and what is put in the place
    of an answer that does not pass.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """The score in words, as the end of a sentence for people who know no formula."""

    def fit(
        self,
        service: PictureClassifier,
        head: str,
        images: ImageSet,
        *,
        student: ServiceStudent | None = None,
        run: Run = Run.none(),
    ) -> FittedCheck:
        """The fit to a service: its student, what the method learnt, and the scores of held-out clean answers.

        Args:
            service: in evaluation mode; it is left as it was found.
            head: whose answers are checked.
            images: pictures like those that will be asked about, 8 or more, better some hundred; one of them that is
                given twice counts once.
            student: made before, of the same service, pictures and settings; None distils it.
            run: logs and states go there; a killed call goes on after what was stored.

        Raises `BadInput` for few pictures, and for a head that there is not.
        """
        if head not in service.classes:
            raise BadInput(f"the service has no head {head!r}; choose one of: {', '.join(service.classes)}")
        taught, tuned, held = divided(images, self.seed)
        if student is None:
            student = self.student(service, head, images, run=run)
        network, varied = student.network, varied_views(tuned, self.views, self.seed)
        p, q = (bounded(probabilities(one, head, varied, self.batch)) for one in (service, network))
        learnt = {name: one.detach().cpu() for name, one in self.learn(p, q, run).items()}
        p, q = (bounded(probabilities(one, head, held.pixels, self.batch)) for one in (service, network))
        return FittedCheck(
            method=self.name,
            settings=plain_settings(asdict(self)),
            head=head,
            classes=tuple(service.classes[head]),
            service=service_hash(service),
            size=(held.pixels.shape[2], held.pixels.shape[3]),
            widths=network.widths,
            repeats=network.repeats,
            copied=student.copied,
            agreement=student.agreement,
            cost=student.cost,
            taught=(*taught.hashes, *tuned.hashes),
            held=held.hashes,
            held_scores=self.scored(learnt, p, q),
            student={name: tensor.cpu() for name, tensor in network.state_dict().items()},
            tensors=learnt,
        )

    def student(
        self, service: PictureClassifier, head: str, images: ImageSet, *, run: Run = Run.none()
    ) -> ServiceStudent:
        """The student of a fit; arguments and errors are those of `fit`."""
        taught, tuned, _ = divided(images, self.seed)
        return distilled(service, head, varied_views(taught, self.views, self.seed), tuned.pixels, self, run)

    def learn(self, p: Answers, q: Answers, run: Run) -> Learnt:
        """Tensors that the method learns from clean answers of service and student; none where it learns nothing."""
        return {}

    def updates(self) -> int:
        """Updates of a training of the method's own; 0 where it learns nothing beside the student."""
        return 0

    def update(self, classes: int) -> Callable[[], object] | None:
        """A call that takes as long as one of these updates, for plans; None where there is none."""
        return None

    @abstractmethod
    def score(self, learnt: Learnt, p: Answers, q: Answers) -> Float[Tensor, "n"]:
        """The unlikeness of a service's answer to its student's, higher for more; rows have no zeros."""

    def repaired(self, learnt: Learnt, p: Answers, q: Answers) -> Answers:
        """Answers in the place of those that do not pass: the student's."""
        return q

    def scored(self, learnt: Learnt, p: Answers, q: Answers) -> Float[Tensor, "n"]:
        """`score` in float64. Raises `IntaglioError` for numbers that are not finite."""
        with torch.no_grad():
            found = self.score(learnt, p, q).double()
        if not bool(found.isfinite().all()):
            raise IntaglioError("scores of the answers are not finite; check the classifier, or fit again")
        return found

    def forget(self, run: Run, stages: int) -> None:
        """Drops the states of the trainings of a service of so many stages, once their result is safe."""
        for name in student_states(stages):
            run.drop_state(name)


def divided(images: ImageSet, seed: int) -> tuple[ImageSet, ImageSet, ImageSet]:
    """Pictures that teach the student, that teach the method, and that are held out: a half, a quarter, a quarter.

    The order follows from the seed and the contents. Raises `BadInput` for fewer than eight different pictures.
    """
    places = {content: place for place, content in enumerate(images.hashes)}
    order = [places[one] for one in sorted(places, key=lambda one: (seed_32bit(seed, "part", one), one))]
    if len(order) < FEWEST:
        raise BadInput(
            f"{len(order)} different pictures are too few to fit a check; give {FEWEST} or more, better some hundred"
        )
    half, quarter = len(order) // 2, len(order) // 4
    return images[order[:half]], images[order[half : half + quarter]], images[order[half + quarter :]]
