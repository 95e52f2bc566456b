"""What the same search finds where there is nothing to find: the base alone in the suspect's place."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from intaglio.extract.cliques import partition
from intaglio.extract.extraction import CONTROL, scores_of, sheets, work_key
from intaglio.extract.family import Extraction
from intaglio.extract.generate import draw
from intaglio.extract.grouping import ranked
from intaglio.extract.settings import Drawing
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.measures import Embedding
from intaglio.metrics.statistics.false_discovery import q_values
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run

SHOWN = 10
"""Groups whose pictures are kept."""


@dataclass(frozen=True, eq=False)
class Control:
    """Groups of the base's own pictures, drawn with the same settings, seeds and number."""

    scores: Float[Tensor, "g"]
    """Of every group at the extraction's threshold, lone pictures among them."""
    pictures: ImageSet
    """Of the groups that stand out most."""
    sizes: tuple[int, ...]
    """Pictures in those groups."""
    drawn: int

    def q_values(self, extraction: Extraction) -> Float[ndarray, "n"]:
        """Of each find, the false-discovery rate at which it is among those reported.

        Every group of the suspect's pictures is tested, returned or not, and the base's groups stand for chance: how
        large a group is where nothing was learned. Prompts that the base itself answers with one picture over and over
        make no find here: the control does it too.
        """
        rates, found = q_values(extraction.scores, self.scores), extraction.scores.numpy()
        return np.array([rates[int(np.abs(found - find.score).argmin())] for find in extraction.finds])


def control(
    method: Drawing,
    base: LatentDiffusion,
    prompts: Sequence[str],
    similarity: Embedding,
    extraction: Extraction,
    run: Run,
    workers: int,
) -> Control:
    """Draw from the base as the extraction drew from the suspect, and group at its threshold.

    Words that only the suspect's tokenizer knows are read by the base's own.
    """
    key = work_key(method, base, base, prompts, similarity)
    with sheets(run, CONTROL) as kept:
        drawn = draw(
            method,
            base,
            base,
            prompts,
            similarity,
            kept,
            count=extraction.drawn,
            enough=None,
            label=CONTROL,
            key=key,
            run=run,
            workers=workers,
        )
        listed = {} if method.grouping == "cliques" else {"listed": 0}
        alike = drawn.descriptors @ drawn.descriptors.T
        groups = ranked(partition(alike, extraction.threshold, **listed), drawn)
        shown = groups[:SHOWN]
        seeds = [drawn.seeds[group.representative] for group in shown]
        pixels = kept.get(seeds) if seeds else torch.zeros(0, 3, base.resolution, base.resolution)
    names = [f"{place:03d}-seed-{seed}.png" for place, seed in enumerate(seeds)]
    sizes = tuple(len(group.members) for group in shown)
    return Control(scores_of(groups), ImageSet.from_pixels(pixels, names), sizes, drawn.count)
