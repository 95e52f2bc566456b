"""Planted pairs of pictures: squares of single inks, which a network's channels tell apart."""

from collections.abc import Sequence

import torch
from torch import nn

from explain_scenes import HEAD
from intaglio.explain.blindspots.pictured_pairs import PicturedPairs
from intaglio.models.classifiers import new_classifier
from intaglio.models.scored_network import ScoredClassifier, classifier_score

SIDE = 16


class Inks(nn.Module):
    """Ink [n, 3, h, w] to maps of its three means in squares of 4 pixels."""

    def forward(self, ink: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(ink, 4)


def inks() -> ScoredClassifier:
    """A network whose layer `stages` has the inks as channels."""
    net = new_classifier({HEAD: ("yes", "no")}, 0, widths=(3,), repeats=(1,)).eval().requires_grad_(False)
    net.stages = nn.Sequential(Inks())
    return classifier_score(net, HEAD, side=SIDE)


def drawn(colours: Sequence[int], seed: int) -> torch.Tensor:
    """A picture a colour: its ink at a random strength in random squares of 4 pixels, on white."""
    source = torch.Generator().manual_seed(seed)
    count = len(colours)
    squares = (0.5 + 0.5 * torch.rand(count, 4, 4, generator=source)) * (
        torch.rand(count, 4, 4, generator=source) < 0.6
    )
    ink = torch.zeros(count, 3, 4, 4)
    ink[torch.arange(count), list(colours)] = squares
    return 1 - ink.repeat_interleave(4, 2).repeat_interleave(4, 3)


def pairs(real: Sequence[int], generated: Sequence[int], *, control: bool = False) -> PicturedPairs:
    """Pictures by the colours of both sides; the control are the real ones again."""
    parts = {"real": drawn(real, 1), "generated": drawn(generated, 2)}
    parts |= {"decoded": parts["real"]} if control else {}
    return PicturedPairs(tuple(f"{k:03d}.png" for k in range(len(real))), parts, [str(one) for one in real])
