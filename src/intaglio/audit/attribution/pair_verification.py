"""Verification of pairs: whether two pictures come from one source, known or not, by the cosine of their features."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from intaglio.audit.attribution.family import NO_MODELS, SourceAttributor
from intaglio.audit.attribution.fitted_sources import FittedSources
from intaglio.audit.attribution.source_models import Models, check_models, check_same
from intaglio.errors import BadInput, require
from intaglio.images.image_set import ImageSet
from intaglio.metrics.statistics.conformal import called, p_values
from intaglio.randomness import seed_32bit


class VerifiedPairs(NamedTuple):
    """Numbers of n pairs of pictures."""

    cosine: Float[Tensor, "n"]
    """Of the two pictures' features, in [-1, 1]; higher for more alike."""
    p: Float[Tensor, "n"]
    """Conformal p-value of two known sources: small where hardly a held-out pair of two sources is as alike."""
    same: Bool[Tensor, "n"]
    """Whether a pair is called one of one source, at the asked rate."""


def verify_pairs(
    method: SourceAttributor,
    fitted: FittedSources,
    first: ImageSet,
    second: ImageSet,
    sources: Mapping[str, ImageSet],
    *,
    models: Models = NO_MODELS,
    rate: float = 0.05,
) -> VerifiedPairs:
    """Whether picture i of the first set and picture i of the second come from one source.

    The threshold comes from held-out pictures, in pairs of two different sources, each picture in one pair: a pair of
    two known sources is called one of one source with a chance of at most the rate. Nothing is promised of pairs with
    an unknown source.

    Args:
        method: that was fitted, with the settings of then.
        fitted: to the sources.
        first: n pictures of the sources' size.
        second: as many.
        sources: those that were fitted, among them the held-out pictures.
        models: those that the sources were fitted with, for a method that asks them.
        rate: share of pairs of different sources that may be called of one source, in (0, 1).

    Raises `BadInput` for sets of different lengths or sizes, other models, and sources without the held-out pictures.
    """
    require(0 < rate < 1, f"rate must lie between 0 and 1, not {rate}")
    check_models(method, fitted.sources, models)
    check_same(fitted, models)
    if len(first) != len(second):
        raise BadInput(f"pairs want as many pictures in either set, not {len(first)} and {len(second)}; leave some out")
    if sizes := {tuple(one.pixels.shape[2:]) for one in (first, second)} - {fitted.size}:
        height, width = sizes.pop()
        raise BadInput(
            f"the pictures are {height}x{width} pixels and those of the sources {fitted.size[0]}x{fitted.size[1]}; "
            "read both at one resolution"
        )

    def cosines(one: Float[Tensor, "n 3 h w"], other: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n"]:
        rows = features_of(method, fitted, torch.cat([one, other]), models)
        return cosine_similarity(*rows.double().split(len(one)), dim=1)

    told_apart = cosines(*different_pairs(fitted, sources, method.seed))
    found = cosines(first.pixels, second.pixels)
    p = torch.from_numpy(p_values(found.numpy(), told_apart.numpy()))
    return VerifiedPairs(found, p, torch.from_numpy(called(p.numpy(), rate)))


def features_of(
    method: SourceAttributor, fitted: FittedSources, pixels: Float[Tensor, "n 3 h w"], models: Models = NO_MODELS
) -> Float[Tensor, "n f"]:
    """Features of pictures in [0, 1], in the method's batches; models are left as they were found."""
    with torch.no_grad():
        return torch.cat([method.features(fitted.tensors, some, models) for some in pixels.split(method.batch)])


def different_pairs(
    fitted: FittedSources, sources: Mapping[str, ImageSet], seed: int
) -> tuple[Float[Tensor, "m 3 h w"], Float[Tensor, "m 3 h w"]]:
    """Held-out pictures in pairs of two different sources, each picture in one pair at most, by the seed.

    Raises `BadInput` where none of the held-out pictures is there.
    """
    held = set(fitted.held)
    left = sorted(
        (seed_32bit(seed, "pairs", content), name, place)
        for name, images in sources.items()
        for place, content in enumerate(images.hashes)
        if content in held
    )
    pairs = []
    while left:
        _, name, place = left.pop()
        partner = next((one for one in reversed(left) if one[1] != name), None)
        if partner is not None:
            left.remove(partner)
            pairs.append((sources[name].pixels[place], sources[partner[1]].pixels[partner[2]]))
    if not pairs:
        raise BadInput(
            "none of the pictures that were held out is among those of the sources; give the sources that were fitted"
        )
    one, other = zip(*pairs, strict=True)
    return torch.stack(one), torch.stack(other)
