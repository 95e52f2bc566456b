"""The whole influence audit: the numbers, and the pictures that a report shows beside each other."""

from collections.abc import Sequence
from dataclasses import replace

from intaglio.audit.influence.family import Influence
from intaglio.audit.influence.result import InfluenceScores
from intaglio.denoising.examples import Examples
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run


def audit_influence(
    method: Influence,
    model: LatentDiffusion,
    train: Examples,
    queries: Examples,
    *,
    shown: int = 4,
    run: Run = Run.none(),
) -> InfluenceScores:
    """The influences, with the pictures that they are about stored in the run's folder.

    Args:
        method: with its settings.
        model: trained on `train`, or fine-tuned on it.
        train: training pictures with their prompts.
        queries: the pictures asked about, with theirs.
        shown: proponents of each query, and as many opponents, whose pictures are stored and shown, from 1.
        run: progress, states and pictures go there; a killed call goes on where it was.

    Raises:
        BadInput: as a call of the method does.
    """
    found = replace(method(model, train, queries, run=run), shown=shown)
    if run.folder is None:
        return found
    chosen = {
        i for query in range(len(queries)) for i in (*found.proponents(query, shown), *found.opponents(query, shown))
    }
    return replace(
        found,
        pictures={
            "queries": _stored("queries", queries, range(len(queries)), run),
            "train": _stored("train", train, sorted(chosen), run),
        },
    )


def _stored(kind: str, examples: Examples, places: Sequence[int], run: Run) -> dict[str, str]:
    """The paths of some of the pictures, by name."""
    return {
        examples.names[i]: run.save_image(
            f"{kind}/{examples.names[i]}", examples.images.pixels[i], {"prompt": examples.prompts[i]}
        )
        for i in places
    }
