"""Edges between filters that are cut for good: in an order, until the shortcut moves the score no more."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from intaglio.errors import require
from intaglio.explain.filter_chain import FilterChain, FilterEdge, filter_chain
from intaglio.explain.repairs.family import Change, ShortcutRepair
from intaglio.explain.repairs.result import LEAST
from intaglio.explain.repairs.shortcut_pictures import ShortcutPictures
from intaglio.models.classifiers import PictureClassifier
from intaglio.models.scored_network import ScoredClassifier
from intaglio.runs.run import Run

KIND = "cuts"
"""Of the records."""
SMALLEST = 1e-6
"""Gap below which there is none."""
Rated = tuple[FilterEdge, float]
"""An edge, and how far it carries the shortcut."""


@dataclass(frozen=True, kw_only=True)
class EdgeCutter(ShortcutRepair, ABC):
    """A repair that cuts edges between filters, those that carry the shortcut first.

    The gap is of one class's score, which the shortcut moves furthest. An edge's effect is the part of the gap that
    goes through it, as the method rates it. A cut edge gives its target, in place of the source's map, one number: what
    it gives on a mean, over places, classes and both values alike; edges to the head are cut for all its classes. Of
    the first 0, 1, 2, 3, 4, 6, 8, 11, ... edges, at most a share of all, those are cut that leave the smallest gap.
    Then the bias of the class is moved to where the worst cell is named best: with the shortcut goes an answer that was
    right for many.
    """

    most: float = 0.02
    """Share of all edges between filters that are cut, at most; above 0, up to 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.most <= 1, f"most must be above 0 and up to 1, not {self.most}")

    @abstractmethod
    def rated(
        self, chain: FilterChain, pictures: ShortcutPictures, weights: Float[Tensor, "n"], run: Run, key: str
    ) -> list[Rated]:
        """Edges, in the order in which they are to be cut; `weights` are those of the gap."""

    def changed(self, scored: ScoredClassifier, target: int, choosing: ShortcutPictures, run: Run, key: str) -> Change:
        """See the contract."""
        weights = choosing.contrast(LEAST)
        gap = float((weights * scored.scored(_logits(scored, choosing, self.batch), target)).sum())
        weights = weights if gap >= 0 else -weights
        chain = filter_chain(scored, target, None, choosing.pixels, self.batch, weights.abs())
        rated = self.rated(chain, choosing, weights, run, key)
        total = sum(a * b for a, b in map(chain.sizes, range(len(chain.modules))))
        counts = counts_up_to(min(len(rated), int(self.most * total)))
        left = {one: found["left"] for one, found in run.recorded(KIND).items() if found.get("key") == key}
        with run.progress(len(counts), KIND, len(left)) as progress:
            for count in counts:
                if str(count) not in left:
                    network = without_edges(scored, chain, [edge for edge, _ in rated[:count]])
                    scores = scored.scored(_logits(replace(scored, network=network), choosing, self.batch), target)
                    left[str(count)] = abs(float((weights * scores).sum()))
                    run.record(KIND, str(count), {"key": key, "left": left[str(count)]})
                    progress.advance()
        cut = min(counts, key=lambda one: round(left[str(one)] / max(abs(gap), SMALLEST), 4))  # the fewest of equals
        network = without_edges(scored, chain, [edge for edge, _ in rated[:cut]])
        logits = _logits(replace(scored, network=network), choosing, self.batch)
        head = cast(nn.Linear, network.heads[scored.head])
        offset = best_offset(logits, target, choosing)
        with torch.no_grad():
            head.bias[target] += offset
        edges = tuple((*_ends(chain, edge), effect) for edge, effect in rated[:cut])
        return Change(network, edges, cut / total, offset)


def counts_up_to(most: int) -> list[int]:
    """0, 1, 2, 3, 4, 6, 8, 11, ...: each the last one times the root of 2, rounded, or one more; at most so many."""
    found = [0, *range(1, min(most, 1) + 1)]
    while found[-1] and found[-1] < most:
        found.append(min(most, max(found[-1] + 1, round(found[-1] * 2**0.5))))
    return found


def without_edges(scored: ScoredClassifier, chain: FilterChain, edges: Sequence[FilterEdge]) -> PictureClassifier:
    """A copy of the network without edges, each of which gives one number in place of a map.

    The number goes into the mean that the normalisation after a convolution takes off, or the head's bias.
    """
    network = copy.deepcopy(scored.network)
    modules = dict(zip(chain.modules, _copies(chain, scored, network), strict=True))
    with torch.no_grad():
        for edge in edges:
            original = chain.modules[edge.layer]
            module, mean = modules[original], chain.means[edge.layer]
            if isinstance(module, nn.Linear):
                module.bias.add_(module.weight[:, edge.source] * mean[edge.source])
                module.weight[:, edge.source] = 0
                continue
            convolution, norm = cast(tuple[nn.Conv2d, nn.BatchNorm2d], module)
            kernel = convolution.weight[edge.target : edge.target + 1, edge.source : edge.source + 1]
            given = functional.conv2d(
                mean[None, edge.source : edge.source + 1],
                kernel,
                stride=convolution.stride,
                padding=convolution.padding,
            )
            cast(Tensor, norm.running_mean)[edge.target] -= given.mean()
            kernel.zero_()
    return network


def best_offset(logits: Float[Tensor, "n k"], target: int, pictures: ShortcutPictures) -> float:
    """The number that, added to a class's logits, names the worst cell best, then all cells; the smallest of equals.

    Cells of fewer than 5 pictures do not count.
    """
    others = torch.cat([logits[:, :target], logits[:, target + 1 :]], 1)
    lead = (logits[:, target] - others.max(1).values).double().numpy()
    own, rest = pictures.truth == target, others.argmax(1).numpy()
    rest = rest + (rest >= target)
    places = np.unique(lead)
    tried = np.concatenate([[0.0], -(places[1:] + places[:-1]) / 2, [-places[-1] - 1, -places[0] + 1]])
    tried = tried[np.argsort(np.abs(tried), kind="stable")]
    numbers, counts = np.unique(pictures.cells, return_counts=True)
    cells = numbers[counts >= LEAST]
    accuracies = np.empty((len(tried), len(cells)))
    for row, offset in enumerate(tried):
        named = lead + offset > 0
        right = np.where(own, named, ~named & (rest == pictures.truth))
        accuracies[row] = [right[pictures.cells == cell].mean() for cell in cells]
    order = np.lexsort((np.arange(len(tried)), -accuracies.mean(1), -accuracies.min(1)))
    return float(tried[order[0]])


def most_first(rated: Sequence[Rated]) -> list[Rated]:
    """The edges that carry the shortcut, those of the largest effects first.

    Effects count by five digits, so that no rounding of a network's decides between edges of one chain.
    """
    return sorted((one for one in rated if one[1] > 0), key=lambda one: -float(f"{one[1]:.5g}"))


def every_edge(chain: FilterChain) -> Iterator[FilterEdge]:
    """All edges, layer by layer."""
    for layer in range(len(chain.modules)):
        targets, sources = chain.sizes(layer)
        for target in range(targets):
            for source in range(sources):
                yield FilterEdge(layer, source, target)


def first_order(
    chain: FilterChain, pictures: ShortcutPictures, weights: Float[Tensor, "n"], batch: int
) -> list[Float[Tensor, "j i"]]:
    """Estimated effects of all edges by layer."""
    totals: list[Tensor] = []
    for part, share in zip(pictures.pixels.split(batch), weights.split(batch), strict=True):
        found = [torch.einsum("n,nji->ji", share.double(), one.double()) for one in chain.slopes(part)]
        totals = [a + b for a, b in zip(totals, found, strict=True)] if totals else found
    return totals


def _copies(
    chain: FilterChain, scored: ScoredClassifier, network: PictureClassifier
) -> Iterator[nn.Linear | tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """The modules of the chain in a copy of its network, each convolution with the normalisation after it."""
    names = {module: name for name, module in scored.network.named_modules()}
    for module in chain.modules:
        name = names[module]
        if isinstance(module, nn.Linear):
            yield cast(nn.Linear, network.get_submodule(name))
        else:
            block = cast(nn.Sequential, network.get_submodule(name.rpartition(".")[0]))
            yield cast(nn.Conv2d, block[0]), cast(nn.BatchNorm2d, block[1])


def _ends(chain: FilterChain, edge: FilterEdge) -> tuple[str, str]:
    last = edge.layer == len(chain.names) - 1
    target = "the head" if last else f"{chain.names[edge.layer]} {edge.target}"
    return f"{chain.sources[edge.layer]} {edge.source}", target


@torch.no_grad()
def _logits(scored: ScoredClassifier, pictures: ShortcutPictures, batch: int) -> Float[Tensor, "n k"]:
    return torch.cat([scored.logits(one).cpu() for one in pictures.pixels.split(batch)])
