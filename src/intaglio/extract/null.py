"""The null of an extraction: the same search with the base in the suspect's place, where nothing was learned."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from intaglio.extract.cliques import partition
from intaglio.extract.extracted import Extraction
from intaglio.extract.extraction import CONTROL, scores_of
from intaglio.extract.family import Extractor
from intaglio.extract.generate import generate, picture_cache
from intaglio.extract.grouping import ranked
from intaglio.extract.inputs import ExtractionInputs
from intaglio.images.image_set import ImageSet
from intaglio.metrics.statistics.false_discovery import q_values
from intaglio.runs.run import Run

KEPT_GROUPS = 10
"""Groups whose pictures are kept."""


@dataclass(frozen=True, eq=False)
class BaseNull:
    """Groups of the base's own pictures, drawn with the same settings, seeds and number."""

    scores: Float[Tensor, "g"]
    """The score of every group at the extraction's threshold, lone pictures among them."""
    pictures: ImageSet
    """A picture of each of the groups that stand out most."""
    sizes: tuple[int, ...]
    """Pictures in those groups."""
    drawn: int
    """Pictures drawn."""

    def q_values(self, extraction: Extraction) -> Float[ndarray, "n"]:
        """The false-discovery rate of each find: that of reporting it and all that stand out more.

        Every group of the suspect's pictures is tested, returned or not, and the base's groups stand for chance: how
        large a group is where nothing was learned. Prompts that the base itself answers with one picture over and over
        make no find here: the base's pictures have that group too.
        """
        rates, found = q_values(extraction.scores, self.scores), extraction.scores.numpy()
        return np.array([rates[int(np.abs(found - find.score).argmin())] for find in extraction.finds])


def search_base(
    method: Extractor, inputs: ExtractionInputs, extraction: Extraction, run: Run, workers: int
) -> BaseNull:
    """Draw from the base as the extraction drew from the suspect, and group at its threshold.

    Words that only the suspect's tokenizer knows are read by the base's own.
    """
    inputs = inputs.of_base()
    with picture_cache(run, CONTROL) as pictures:
        generated = generate(
            method,
            method.guide,
            inputs,
            pictures,
            count=extraction.drawn,
            enough=None,
            label=CONTROL,
            key=inputs.key(method.name, method),
            run=run,
            workers=workers,
        )
        listed = {} if method.grouping == "cliques" else {"listed": 0}
        alike = generated.descriptors @ generated.descriptors.T
        groups = ranked(partition(alike, extraction.threshold, **listed), generated)
        kept = groups[:KEPT_GROUPS]
        seeds = [generated.seeds[group.representative] for group in kept]
        side = inputs.base.resolution
        pixels = pictures.get(seeds) if seeds else torch.zeros(0, 3, side, side)
    names = [f"{rank:03d}-seed-{seed}.png" for rank, seed in enumerate(seeds)]
    sizes = tuple(len(group.members) for group in kept)
    return BaseNull(scores_of(groups), ImageSet.from_pixels(pixels, names), sizes, generated.count)
