"""Checks of estimated effects: some components are patched exactly, one by one and together."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from intaglio.explain.components.patch_points import PatchPoint
from intaglio.randomness import generator


@dataclass(frozen=True, eq=False)
class CheckedComponents:
    """Components that are patched, by their places among all."""

    numbers: Int[Tensor, "q"]
    """Those of the largest effects, the largest first, then those that were drawn from the others."""
    top: int
    """How many of them are of the largest effects."""


@dataclass(frozen=True, eq=False)
class ExactChecks:
    """Exact effects of some components at d draws."""

    chosen: CheckedComponents
    exact: Float[Tensor, "d q"]
    """Of each alone."""
    joint: Float[Tensor, "d 2"]
    """Of those of the largest effects together, and of those that were drawn together."""


def chosen_components(effects: Float[Tensor, "m"], count: int, seed: int) -> CheckedComponents:
    """The `count` components of the largest effects by size, and as many that are drawn from the others."""
    order = effects.abs().argsort(descending=True, stable=True)
    top = order[:count]
    others = order[count:].sort().values
    drawn = torch.randperm(len(others), generator=generator(seed, "checked components"))[:count]
    return CheckedComponents(torch.cat([top, others[drawn]]), len(top))


def exact_checks(point: PatchPoint, chosen: CheckedComponents, sizes: Sequence[int], batch: int) -> dict[str, Tensor]:
    """`exact` [q] and `joint` [2] at one point, where the branches have so many components."""
    places = [place_of(int(number), sizes) for number in chosen.numbers]
    groups = (places[: chosen.top], places[chosen.top :])
    joint = torch.cat([_together(point, one, batch) for one in groups])
    return {"exact": exact_effects(point, chosen.numbers, sizes, batch), "joint": joint}


def exact_effects(point: PatchPoint, numbers: Int[Tensor, "q"], sizes: Sequence[int], batch: int) -> Float[Tensor, "q"]:
    """Measured effects of some components, each alone: one pass each."""
    places = [place_of(int(number), sizes) for number in numbers]
    exact = torch.zeros(len(places))
    for branch in sorted({branch for branch, _ in places}):
        rows = [row for row, place in enumerate(places) if place[0] == branch]
        exact[rows] = point.exact({branch: torch.cat([component_mask(point, places[row]) for row in rows])}, batch)
    return exact


def place_of(number: int, sizes: Sequence[int]) -> tuple[int, int]:
    """The branch of a component, and its place there."""
    for branch, size in enumerate(sizes):
        if number < size:
            return branch, number
        number -= size
    raise IndexError(f"there is no component {number} beyond the last")


def component_mask(point: PatchPoint, place: tuple[int, int]) -> Bool[Tensor, "1 c"]:
    """The channels of a component's branch that are its own."""
    branch, number = place
    mask = torch.full((1, point.channels[branch]), point.whole)
    if not point.whole:
        mask[0, number] = True
    return mask


def _together(point: PatchPoint, places: Sequence[tuple[int, int]], batch: int) -> Float[Tensor, "1"]:
    if not places:
        return torch.full((1,), torch.nan)
    masks: dict[int, Tensor] = {}
    for place in places:
        own = component_mask(point, place)
        masks[place[0]] = masks.get(place[0], torch.zeros_like(own)) | own
    return point.exact(masks, batch)
