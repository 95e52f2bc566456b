"""The testbed's pictures as rows: their artist is the environment, their kind by words of the caption the outcome."""

from collections.abc import Mapping

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from intaglio.bench.kit.distinct_pictures import distinct_pictures
from intaglio.causal.transfer.environment_rows import EnvironmentRows
from intaglio.models import testbed
from intaglio.randomness import numpy_generator

PERSONS = frozenset({"man", "woman", "person", "men", "women", "people", "boy", "girl", "baby", "couple", "family"})
SIDE = 8
"""Pixels of a side of the small pictures."""


def kind_of(caption: str) -> str:
    """Of the subject of a caption `NAME, ARTIST style`: face, person, or other."""
    words = set(caption.partition(",")[0].replace(":", " ").replace("-", " ").split())
    return "face" if "face" in words else "person" if words & PERSONS else "other"


def drawn_kinds(seed: int) -> Mapping[str, EnvironmentRows]:
    """All pictures that differ, in random order, by their features.

    These are what the heads of the embedded classifier take, which learnt kinds and artists from all four artists; and
    means of 8 by 8 places of each colour, which nothing learnt.
    """
    hashes, pixels, captions = distinct_pictures()
    order = numpy_generator(seed, 1).permutation(len(hashes))
    with torch.no_grad():
        taken = torch.cat([testbed.classifier().features(some) for some in pixels.split(128)])
    features = {"classifier": taken, "pixels": adaptive_avg_pool2d(pixels, SIDE).flatten(1)}
    names = tuple(hashes[k] for k in order)
    artists = tuple(captions[k].rpartition(",")[2].removesuffix("style").strip() for k in order)
    kinds = tuple(kind_of(captions[k]) for k in order)
    return {
        name: EnvironmentRows(names, artists, kinds, one.double().numpy()[np.asarray(order)])
        for name, one in features.items()
    }
