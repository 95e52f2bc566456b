"""One row of the attribution bench: a method fitted to the known sources, and its numbers of all pictures that test."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from scipy.stats import mannwhitneyu
from torch import Tensor
from torch.nn.functional import normalize

from intaglio.audit.attribution.audit import attribute_pictures
from intaglio.audit.attribution.family import SourceAttributor
from intaglio.audit.attribution.fitted_sources import FittedSources
from intaglio.audit.attribution.pair_verification import features_of
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

    def pairs(
        self, method: SourceAttributor, fitted: FittedSources, models: Models
    ) -> tuple[Float[Tensor, "n f"], list[str]]:
        """Features of plain pictures that test, and the source of each; of unknown sources as many as of known ones."""
        tests, count = self.tests(CONDITIONS[0]), len(self._pixels(KNOWN[0])) - self.taught
        names = [name.rpartition("/")[0] for name in tests.names]
        places = [place for name in dict.fromkeys(names) for place in places_of(names, name)[:count]]
        chosen = tests[places]
        return features_of(method, fitted, chosen.pixels, models), [names[place] for place in places]

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
    verified = verification_areas(*drawn.pairs(method, fitted, models))
    return {"role": method.role, "seconds": seconds, "conditions": conditions, "verification": verified}


def places_of(names: Sequence[str], name: str) -> list[int]:
    """Places of the pictures of a source."""
    return [place for place, one in enumerate(names) if one == name]


def verification_areas(features: Float[Tensor, "n f"], names: Sequence[str]) -> dict[str, float]:
    """Chance that a pair of one source has a higher cosine than a pair of two, ties counted half.

    Over all pairs of known sources (`known`), and over all with an unknown one (`unknown`).
    """
    rows = normalize(features.double(), dim=1)
    cosine = (rows @ rows.T).numpy()
    sources, unknown = np.array(names), np.array([name in UNKNOWN for name in names])
    alike, upper = sources[:, None] == sources[None], np.triu(np.ones_like(cosine, dtype=bool), 1)
    kinds = {"known": ~unknown[:, None] & ~unknown[None], "unknown": unknown[:, None] | unknown[None]}
    found = {}
    for kind, mask in kinds.items():
        same, other = cosine[upper & mask & alike], cosine[upper & mask & ~alike]
        found[kind] = float(mannwhitneyu(same, other).statistic / (len(same) * len(other)))
    return found


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
