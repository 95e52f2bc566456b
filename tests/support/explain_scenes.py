"""Planted networks of pictures, whose scores are known functions of squares of a grid."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import tiny
from intaglio.explain.words.prompt_words import AskedWords
from intaglio.images.image_set import ImageSet
from intaglio.models.classifiers import PictureClassifier, new_classifier
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.scored_network import ScoredClassifier, classifier_score

HEAD, SIDE = "kind", 16


def pictures(count: int) -> ImageSet:
    """Grey pictures, not white anywhere."""
    return ImageSet.from_pixels(0.2 + 0.6 * tiny.pixels(count, seed=5)[..., :SIDE, :SIDE])


def coloured(count: int) -> ImageSet:
    """Blocks of the eight purest colours, whose crops differ in more than their strength."""
    drawn = torch.randint(0, 2, (count, 3, 4, 4), generator=torch.Generator().manual_seed(1)).float()
    return ImageSet.from_pixels(drawn.repeat_interleave(4, 2).repeat_interleave(4, 3))


def classifier(seed: int = 0) -> PictureClassifier:
    """Two heads, untrained."""
    heads = {HEAD: ("animal", "food", "place"), "artist": ("one", "two")}
    return new_classifier(heads, seed, widths=(4, 6), repeats=(1, 1)).eval().requires_grad_(False)


def untrained() -> ScoredClassifier:
    return classifier_score(classifier(), HEAD, side=SIDE)


def planted(logit: Callable[[Tensor], Tensor]) -> ScoredClassifier:
    """A network of two classes with logits f and 0 of pixels [n, 3, 16, 16]: the log-odds of the first are f."""
    net = new_classifier({HEAD: ("yes", "no")}, 0, widths=(4,), repeats=(1,)).eval().requires_grad_(False)

    class Planted(nn.Module):
        def forward(self, ink: Tensor) -> Tensor:
            found = logit(1 - ink)  # the network takes ink for 1
            return torch.stack([found, torch.zeros_like(found)], 1)[..., None, None]

    net.stages = nn.Sequential(Planted())
    net.heads = nn.ModuleDict({HEAD: nn.Identity()})
    net.register_parameter("anchor", nn.Parameter(torch.zeros(1)))
    return classifier_score(net, HEAD, side=SIDE)


def cells(pixels: Tensor, blank: float = 1.0, side: int = 2) -> Tensor:
    """Whether each cell of a grid of `side` x `side` is shown [n, side^2], on a blank of one grey."""
    shown = ((pixels - blank).abs() > 1e-3).float().mean(1, keepdim=True)
    return nn.functional.adaptive_avg_pool2d(shown, side).flatten(1).round()


def additive(weights: Tensor, pairs: Tensor | None = None) -> ScoredClassifier:
    """Score sum_i w_i m_i + sum_ij p_ij m_i m_j over the cells m that are shown."""
    side = int(len(weights) ** 0.5)

    def logit(pixels: Tensor) -> Tensor:
        shown = cells(pixels, side=side)
        found = shown @ weights
        return found if pairs is None else found + torch.einsum("ni,ij,nj->n", shown, pairs, shown)

    return planted(logit)


def asked_as(clean: Callable[..., Tensor], **parts: Any) -> AskedWords:
    """Words asked of a model that predicts clean latents by a function of (latents, t, conditioning)."""

    class Planted(LatentDiffusion):
        def __init__(self):
            pass

        def clean(self, latents, t, conditioning):
            return clean(latents, t, conditioning)

    asked = object.__new__(AskedWords)
    for name, value in {"model": Planted(), **parts}.items():
        object.__setattr__(asked, name, value)
    return asked


def chained() -> ScoredClassifier:
    """Three convolutions with one chain: red ink to filter 0 of each, and from the last to the class yes.

    Filter 1 of each has the same map, and nothing comes of it; filter 2 takes green, and goes nowhere but to the next.
    """
    net = new_classifier({HEAD: ("yes", "no")}, 0, widths=(3, 3, 3), repeats=(1, 1, 1)).eval().requires_grad_(False)
    for k, stage in enumerate(net.stages):
        conv = stage[0][0]
        conv.weight.zero_()
        for filter_, source in enumerate((0, 0, 1) if k == 0 else (0, 1, 2)):
            conv.weight[filter_, source, 1, 1] = 1 + k
    head = net.heads[HEAD]
    head.weight.zero_()
    head.weight[0, 0], head.bias[:] = 8.0, torch.tensor([-4.0, 0.0])
    return classifier_score(net, HEAD, side=SIDE)


def marked_chain() -> ScoredClassifier:
    """`chained`, with a second chain for a shortcut: green ink to filter 1 of each, and from the last to the class yes.

    Filter 2 of each takes blue, and goes nowhere. No filter takes another's map.
    """
    scored = chained()
    net = scored.network
    for k, stage in enumerate(net.stages):
        conv = stage[0][0]
        conv.weight.zero_()
        for place in range(3):
            conv.weight[place, place, 1, 1] = 1 + k
    net.heads[HEAD].weight[0, 1] = 8.0
    net.heads[HEAD].bias[:] = torch.tensor([-8.0, 0.0])
    return scored


def marked_reds(count: int = 96) -> tuple[ImageSet, list[str], list[str]]:
    """Pictures of red ink, much of it in those of the class yes, green ink in those with the shortcut; and both."""
    source = torch.Generator().manual_seed(2)
    yes, green = torch.arange(count) % 2 == 0, torch.arange(count) // 2 % 4 == 0
    green = torch.where(yes, ~green, green)
    pixels = torch.ones(count, 3, SIDE, SIDE)
    some = 0.05 * torch.rand(3, count, generator=source)
    for channel, ink in enumerate((0.1 + 0.2 * yes + some[0], 0.3 * green + some[1], 0.3 + some[2])):
        pixels[:, channel] -= ink.view(-1, 1, 1)
    texts = [["yes" if one else "no" for one in those.tolist()] for those in (yes, green)]
    return ImageSet.from_pixels(pixels), texts[0], texts[1]


def reds(count: int = 24) -> ImageSet:
    """Pictures of red ink on white, every other one with much of it, with as much green ink."""
    source = torch.Generator().manual_seed(1)
    pixels = torch.ones(count, 3, SIDE, SIDE)
    strong = 0.6 + 0.3 * torch.rand(count, generator=source)
    ink = torch.where(torch.arange(count) % 2 == 0, strong, 0.02 * strong).view(-1, 1, 1)
    pixels[:, 0] -= ink
    pixels[:, 1] -= ink
    return ImageSet.from_pixels(pixels)
