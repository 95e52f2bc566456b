"""A judge of drawn pictures by their colours, and walks whose values are planted."""

import torch

from intaglio.explain.directions.family import DirectionJudge
from intaglio.explain.site_walks import SiteWalks


def direction_judge() -> DirectionJudge:
    """Followed is the redness of a picture."""
    return DirectionJudge("red", {"red": lambda pixels: pixels[:, 0].mean((1, 2)) - pixels[:, 2].mean((1, 2))})


def planted_walks(values: torch.Tensor) -> SiteWalks:
    """Walks with these values [n, s, *shape]."""
    return SiteWalks(values, torch.zeros(len(values), 4, 2, 2))
