"""The whole attribution: pictures judged by what was fitted, with p-values of sources and pictures for a report."""

from dataclasses import asdict

from intaglio.audit.attribution.family import NO_MODELS, SourceAttributor
from intaglio.audit.attribution.fitted_sources import FittedSources, plain_settings
from intaglio.audit.attribution.result import SourceScores
from intaglio.audit.attribution.source_models import Models, check_models, check_same
from intaglio.audit.attribution.source_p_values import source_p_values
from intaglio.errors import BadInput, require
from intaglio.images.image_set import ImageSet
from intaglio.runs.run import Run

MOST_SHOWN = 60
"""Pictures that are stored for a report, at most."""


def attribute_pictures(
    method: SourceAttributor,
    fitted: FittedSources,
    images: ImageSet,
    *,
    models: Models = NO_MODELS,
    rate: float = 0.05,
    run: Run = Run.none(),
) -> SourceScores:
    """The sources that fit each picture, and the one it is attributed to where only one does.

    Args:
        method: that was fitted, with the settings of then.
        fitted: to pictures of known sources.
        images: pictures to attribute, one or more, of the sources' size.
        models: those that the sources were fitted with, for a method that asks them.
        rate: share of a source's pictures that may be attributed to another, at most; in (0, 1).
        run: progress, records and pictures go there; a killed call goes on after what was stored.

    Raises:
        BadInput: for no pictures, for such of another size than the sources', and for a fit of another method, of other
            settings or of other models.
        IntaglioError: for numbers that are not finite.
    """
    require(0 < rate < 1, f"rate must lie between 0 and 1, not {rate}")
    if not len(images):
        raise BadInput("there are no pictures to attribute; give a folder with at least one to --images")
    if (size := tuple(images.pixels.shape[2:])) != fitted.size:
        raise BadInput(
            f"the pictures are {size[0]}x{size[1]} pixels and those of the sources {fitted.size[0]}x{fitted.size[1]}; "
            "read both at one resolution"
        )
    if (fitted.method, fitted.settings) != (method.name, plain_settings(asdict(method))):
        raise BadInput(
            f"the sources were fitted by {fitted.method} with other settings; take the method as it was then, or fit "
            "them again"
        )
    check_models(method, fitted.sources, models)
    check_same(fitted, models)
    judged = method.judged(fitted.tensors, len(fitted.sources), images, models, run, "pictures")
    known = {*fitted.taught, *fitted.held}
    shown = range(0) if run.folder is None else range(len(images))[:MOST_SHOWN]
    return SourceScores(
        method=method.name,
        reading=method.reading,
        sources=fitted.sources,
        rate=rate,
        names=images.names,
        hashes=images.hashes,
        log_posterior=judged.log_posterior,
        knownness=judged.knownness,
        p=source_p_values(judged.log_posterior, judged.knownness, fitted.held_numbers),
        held=tuple(fitted.held_verdicts(rate)),
        held_accuracy=fitted.held_accuracy,
        fitted=fitted.hash,
        seen=tuple(content in known for content in images.hashes),
        pictures={images.names[i]: run.save_image(f"pictures/{images.names[i]}", images.pixels[i]) for i in shown},
    )
