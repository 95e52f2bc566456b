"""One row of the attribution bench: a method fitted to the known sources, and its numbers of all pictures that test."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from intaglio.audit.attribution.audit import attribute_pictures
from intaglio.audit.attribution.family import SourceAttributor
from intaglio.audit.attribution.post_processing import post_processed
from intaglio.audit.attribution.result import SourceScores
from intaglio.audit.attribution.source_models import Models
from intaglio.bench.attribution.source_scene import KNOWN, UNKNOWN
from intaglio.images.image_set import ImageSet
from intaglio.randomness import generator

CONDITIONS = ("plain", "post-processed")
"""How the pictures that test are judged: as they are, or each after one to three changes."""


@dataclass(frozen=True, eq=False)
class DrawnSources:
    """Pictures of all sources."""

    levels: Mapping[str, UInt8[Tensor, "_ 3 h w"]]
    """Pixels of each source, 0 to 255."""
    captions: Mapping[str, Sequence[str]]
    """Of the known sources that have any, one a picture."""
    taught: int
    """Pictures of a known source that a method is given."""
    seed: int
    """Of the changes."""

    def given(self) -> dict[str, ImageSet]:
        """Pictures of the known sources that a method is fitted to."""
        return {
            name: ImageSet.from_pixels(
                self._pixels(name)[: self.taught],
                captions=self.captions[name][: self.taught] if name in self.captions else None,
            )
            for name in KNOWN
        }

    def tests(self, condition: str) -> ImageSet:
        """Pictures that test, of all sources, each called `SOURCE/NUMBER`."""
        parts, names = [], []
        for name in (*KNOWN, *UNKNOWN):
            pixels = self._pixels(name)[self.taught :] if name in KNOWN else self._pixels(name)
            if condition != CONDITIONS[0]:
                pixels = post_processed(pixels, 1.0, generator(self.seed, "post-processed", name))
            parts.append(pixels)
            names += [f"{name}/{k:04d}" for k in range(len(pixels))]
        return ImageSet.from_pixels(torch.cat(parts), names)

    def _pixels(self, name: str) -> Float[Tensor, "n 3 h w"]:
        return self.levels[name].float() / 255


def fitted_row(method: SourceAttributor, drawn: DrawnSources, rate: float, models: Models) -> dict[str, Any]:
    """The numbers of a method under each condition, and its seconds."""
    began = time.monotonic()
    fitted = method.fit(drawn.given(), models=models)
    seconds = time.monotonic() - began
    conditions = {
        condition: by_source(attribute_pictures(method, fitted, drawn.tests(condition), models=models, rate=rate))
        for condition in CONDITIONS
    }
    return {"role": method.role, "seconds": seconds, "conditions": conditions}


def by_source(found: SourceScores) -> dict[str, dict[str, list[Any]]]:
    """For each source of a picture's name: place of the likeliest source, its probability, the verdict, the knownness.

    Verdicts are places of sources, -1 where none fits and -2 where several do.
    """
    likeliest = found.log_posterior.argmax(1)
    columns: dict[str, list[Any]] = {
        "likeliest": likeliest.tolist(),
        "confidence": found.log_posterior.exp().amax(1).tolist(),
        "verdict": found.verdicts,
        "knownness": found.knownness.tolist(),
    }
    rows: dict[str, dict[str, list[Any]]] = {}
    for i, name in enumerate(found.names):
        own = rows.setdefault(name.rpartition("/")[0], {column: [] for column in columns})
        for column, values in columns.items():
            own[column].append(values[i])
    return rows
