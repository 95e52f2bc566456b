"""The whole check: a service's answers judged by a fit, with p-values, repaired answers and pictures for a report."""

from collections.abc import Sequence
from dataclasses import asdict

import torch

from intaglio.audit.attribution.fitted_sources import plain_settings
from intaglio.audit.inference.class_answers import Answers, bounded, check_answers
from intaglio.audit.inference.family import ResultCheck
from intaglio.audit.inference.fitted_check import FittedCheck
from intaglio.audit.inference.result import CheckedAnswers
from intaglio.audit.inference.service_student import probabilities
from intaglio.errors import BadInput, require
from intaglio.images.image_set import ImageSet
from intaglio.metrics.statistics.conformal import called, p_values
from intaglio.runs.run import Run

MOST_SHOWN = 60
"""Pictures that are stored for a report, at most."""
DECIMALS = 5.1e-5
"""Difference of probabilities that rounding to four decimals makes, at most."""


def check_results(
    method: ResultCheck,
    fitted: FittedCheck,
    images: ImageSet,
    answers: Answers,
    *,
    rate: float = 0.01,
    run: Run = Run.none(),
) -> CheckedAnswers:
    """The p-value of each answer, and an answer in its place where it does not pass.

    p = (1 + held-out clean answers with a score at least as high) / (held-out answers + 1). A clean answer to a picture
    that is exchangeable with the held-out ones has p <= a with a chance of at most a. Answers are tables of a few
    decimals and the held-out ones are not: one that is the student's own to four decimals has p = 1, so that a student
    that is the service itself does not take rounding for an attack.

    Args:
        method: that was fitted, with the settings of then.
        fitted: to the service.
        images: pictures that the service was asked about, one or more, of the fit's size.
        answers: of the service, rows of probabilities in the order of the fit's classes.
        rate: share of clean answers that may fail, at most; in (0, 1).
        run: where pictures go.

    Raises:
        BadInput: for no pictures, such of another size than the fit's, answers that are no distributions or not of the
            fit's classes, and a fit of another method or of other settings.
        IntaglioError: for numbers that are not finite.
    """
    require(0 < rate < 1, f"rate must lie between 0 and 1, not {rate}")
    _check(method, fitted, images, answers)
    with torch.no_grad():
        student = probabilities(fitted.network, fitted.head, images.pixels, method.batch)
        q, p = bounded(student), bounded(answers)
        scores = method.scored(fitted.tensors, p, q)
        mended = method.repaired(fitted.tensors, p, q).double()
    values = p_values(scores.numpy(), fitted.held_scores.numpy())
    values[(answers.double() - student).abs().amax(1).numpy() <= DECIMALS] = 1.0
    fails = torch.from_numpy(called(values, rate))
    known = {*fitted.taught, *fitted.held}
    return CheckedAnswers(
        method=method.name,
        reading=method.reading,
        head=fitted.head,
        classes=fitted.classes,
        rate=rate,
        fitted=fitted.hash,
        held=len(fitted.held),
        agreement=fitted.agreement,
        cost=fitted.cost,
        names=images.names,
        hashes=images.hashes,
        seen=tuple(content in known for content in images.hashes),
        scores=scores,
        p=torch.from_numpy(values),
        answers=answers.double(),
        student=q,
        repaired=torch.where(fails[:, None], mended, answers.double()),
        pictures=_stored(images, run),
    )


def _check(method: ResultCheck, fitted: FittedCheck, images: ImageSet, answers: Answers) -> None:
    if not len(images):
        raise BadInput("there are no pictures whose answers to check; give a folder with at least one to --images")
    if (size := tuple(images.pixels.shape[2:])) != fitted.size:
        raise BadInput(
            f"the pictures are {size[0]}x{size[1]} pixels and those of the fit {fitted.size[0]}x{fitted.size[1]}; read "
            "both at one resolution"
        )
    if tuple(answers.shape) != (len(images), len(fitted.classes)):
        raise BadInput(
            f"answers of shape {list(answers.shape)} are not of {len(images)} pictures and {len(fitted.classes)} "
            "classes; give a row a picture, and a column a class"
        )
    check_answers(answers, images.names)
    if (fitted.method, fitted.settings) != (method.name, plain_settings(asdict(method))):
        raise BadInput(
            f"the check was fitted by {fitted.method} with other settings; take the method as it was then, or fit again"
        )


def _stored(images: ImageSet, run: Run) -> dict[str, str]:
    shown: Sequence[int] = range(0) if run.folder is None else range(len(images))[:MOST_SHOWN]
    return {images.names[i]: run.save_image(f"pictures/{images.names[i]}", images.pixels[i]) for i in shown}
