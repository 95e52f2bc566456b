"""A whole extraction: the finds, the null from the base, and the evaluation where the training set is known."""

from jaxtyping import Float
from numpy import ndarray

from intaglio.extract.evaluation import Evaluation, evaluate
from intaglio.extract.extracted import Extraction
from intaglio.extract.family import Extractor
from intaglio.extract.inputs import ExtractionInputs
from intaglio.extract.null import BaseNull, search_base
from intaglio.extract.result import ExtractionResult, NullGroups, ReturnedPicture, TrainingCoverage, TrainingMatch
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.measures import check_descriptors
from intaglio.runs.run import Run


def run_extraction(
    method: Extractor,
    inputs: ExtractionInputs,
    *,
    controlled: bool,
    training: ImageSet | None,
    held_out: ImageSet | None,
    fdr: float,
    run: Run,
    workers: int,
) -> ExtractionResult:
    """Extract, search the base too where that is wanted, and evaluate where the training set is known.

    Args:
        method: draws and groups.
        inputs: the models, the prompts and the encoder.
        controlled: whether to search the base, for false-discovery rates.
        training: the pictures that the suspect was tuned on, where they are known.
        held_out: pictures of the same kind that it was not tuned on, at least as many.
        fdr: the asked false-discovery rate, in (0, 1).
        run: progress, states and the pictures' files.
        workers: processes on the CPU.
    """
    for known in (training, held_out):
        if known is not None:
            check_descriptors(inputs.similarity, known.pixels, known.names)
    about = {"similarity": inputs.similarity, "run": run, "workers": workers}
    found = method(inputs.suspect, inputs.base, prompts=inputs.prompts, **about)
    null = search_base(method, inputs, found, run, workers) if controlled else None
    evaluation = None if training is None else evaluate(found, training, held_out, inputs.similarity)
    q_values = None if null is None else null.q_values(found)
    matches = [None] * len(found.finds)
    if evaluation is not None and training is not None:
        matches = [_match(run, evaluation, training, index) for index in range(len(found.finds))]
    return ExtractionResult(
        method=method.name,
        reading=method.reading,
        finds=tuple(_returned(run, found, q_values, matches[index], index) for index in range(len(found.finds))),
        drawn=found.drawn,
        excluded=found.excluded,
        threshold=found.threshold,
        scores=tuple(found.scores.tolist()),
        exact=found.exact,
        prompted=found.prompted,
        fdr=fdr,
        null=None if null is None else _null(run, null),
        coverage=None if evaluation is None else _coverage(evaluation),
        warnings=found.warnings,
    )


def _returned(
    run: Run, found: Extraction, q_values: Float[ndarray, "n"] | None, match: TrainingMatch | None, index: int
) -> ReturnedPicture:
    """One find, with its picture stored."""
    find, name = found.finds[index], found.pictures.names[index]
    return ReturnedPicture(
        name=name,
        seed=find.seed,
        prompt=find.prompt,
        size=len(find.members),
        cohesion=find.cohesion,
        lowest=find.lowest,
        nearest_other=find.nearest_other,
        loss_difference=find.loss_difference,
        score=find.score,
        members=find.members,
        q_value=None if q_values is None else float(q_values[index]),
        image=run.save_image(f"finds/{name.removesuffix('.png')}", found.pictures.pixels[index]),
        match=match,
    )


def _match(run: Run, evaluation: Evaluation, training: ImageSet, index: int) -> TrainingMatch:
    """The training picture nearest to a find, stored beside it."""
    nearest = evaluation.nearest[index]
    pixels = training.pixels[training.names.index(nearest)]
    return TrainingMatch(
        nearest=nearest,
        similarity=float(evaluation.similarity[index]),
        nearest_image=run.save_image(f"training/{nearest}", pixels),
        held_out=None if evaluation.held_out is None else float(evaluation.held_out[index]),
        match_q=None if evaluation.matches is None else float(evaluation.matches[index]),
    )


def _null(run: Run, null: BaseNull) -> NullGroups:
    pictures = zip(null.pictures.names, null.pictures.pixels, strict=True)
    images = [run.save_image(f"control-groups/{name.removesuffix('.png')}", pixels) for name, pixels in pictures]
    return NullGroups(null.drawn, tuple(null.scores.tolist()), null.sizes, tuple(images))


def _coverage(found: Evaluation) -> TrainingCoverage:
    thresholds = {"loose": found.loose, "strict": found.strict}
    return TrainingCoverage(
        average_similarity=found.coverage.average,
        training=len(found.coverage.similarity),
        extracted=found.coverage.extracted,
        **thresholds,
        rates={name: None if at is None else found.coverage.rate(at) for name, at in thresholds.items()},
        by_picture=tuple(found.coverage.similarity.tolist()),
        nearest=found.coverage.nearest,
    )
