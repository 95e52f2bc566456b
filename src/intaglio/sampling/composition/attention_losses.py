"""Losses on the attention maps of a prompt's entities: missing, mixed, not bound to their colours, misplaced."""

from collections.abc import Sequence
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.sampling.composition.entities import ComposedTokens, EntityTokens

MASS = 1000.0
"""Sum of a map in the loss of missing entities."""
SHARPNESS = 100.0
"""Factor of attention before the softmax, in the loss of relations."""
LEAST = 1e-8
"""Divisor below which a map is taken as flat."""


def word_maps(shares: Float[Tensor, "tokens h w"], sharpness: float = 1.0) -> Float[Tensor, "tokens h w"]:
    """Softmax over the tokens of `sharpness` times the attention of each place."""
    return (sharpness * shares).softmax(0)


def missing(maps: Float[Tensor, "k h w"], which: Sequence[int] | None = None) -> Float[Tensor, ""]:
    """Sum over entities i of `max(0, 1 - mean over j≠i of max over places of (a_i - a_j)+)`, a = 1000 A / ΣA.

    `which` are the entities that are summed over; None takes all. 0 for a single entity, which nothing covers.
    """
    mass = MASS * maps / maps.sum((1, 2), keepdim=True)
    total = maps.new_zeros(())
    for i in range(len(maps)) if which is None else which:
        ahead = [(mass[i] - mass[j]).clamp(min=0).max() for j in range(len(maps)) if j != i]
        if ahead:
            total = total + (1 - torch.stack(ahead).mean()).clamp(min=0)
    return total


def overlap(a: Float[Tensor, "h w"], b: Float[Tensor, "h w"]) -> Float[Tensor, ""]:
    """`Σ ab / Σ (a + b)` of maps that are stretched to [0, 1]; ½ for equal maps of zeros and ones, and never more."""
    a, b = _stretched(a), _stretched(b)
    return (a * b).sum() / (a + b).sum().clamp(min=LEAST)


def _stretched(one: Tensor) -> Tensor:
    return (one - one.min()) / (one.max() - one.min()).clamp(min=LEAST)


def mixing(maps: Float[Tensor, "k h w"]) -> Float[Tensor, ""]:
    """Sum of the overlaps of all pairs."""
    return sum((overlap(a, b) for a, b in combinations(maps, 2)), maps.new_zeros(()))


def misplaced(first: Float[Tensor, "h w"], second: Float[Tensor, "h w"], relation: str) -> Float[Tensor, ""]:
    """`σ(E[first] - E[second])` for `left of` and `above`, the reverse for the others; E is the mean column or row."""
    axis = 0 if relation in ("above", "below") else 1
    steps = torch.arange(first.shape[axis], dtype=first.dtype, device=first.device)
    one, two = ((map_.sum(1 - axis) * steps).sum() / map_.sum() for map_ in (first, second))
    return torch.sigmoid(one - two if relation in ("left of", "above") else two - one)


def composition_loss(
    shares: Float[Tensor, "tokens h w"], tokens: ComposedTokens, faulty: Sequence[int] | None = None
) -> Float[Tensor, ""]:
    """The sum of all losses of one picture.

    Args:
        shares: attention of the prompt's tokens between start and end.
        tokens: which of them are its entities'.
        faulty: entities whose losses alone count, without mixing and relation; None: all.
    """
    entities = tokens.entities
    if not entities:
        return shares.new_zeros(())
    maps = word_maps(shares)
    own = _entity_maps(maps, entities)
    total = missing(own, faulty)
    for index in range(len(entities)) if faulty is None else faulty:
        if entities[index].colour:
            total = total + 1 - overlap(_mean(maps, entities[index].colour), _mean(maps, entities[index].noun))
    if faulty is not None:
        return total
    if tokens.relation is None:
        return total + mixing(own)
    first, second = _entity_maps(word_maps(shares, SHARPNESS), entities)
    return total + misplaced(first, second, tokens.relation)


def _entity_maps(maps: Tensor, entities: Sequence[EntityTokens]) -> Float[Tensor, "k h w"]:
    """Mean over an entity's tokens, its colour's included."""
    return torch.stack([_mean(maps, one.noun + one.colour) for one in entities])


def _mean(maps: Tensor, places: Sequence[int]) -> Tensor:
    return maps[list(places)].mean(0)
