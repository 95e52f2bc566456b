"""Path finders: the contract of a method that tells what edges between filters do for a class's score."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from scipy.stats import false_discovery_control
from torch import Tensor

from intaglio.errors import BadInput, IntaglioError, require
from intaglio.explain.filter_chain import FilterChain, FilterEdge, Pictures, filter_chain
from intaglio.explain.paths.result import ClassGraph
from intaglio.images.image_set import ImageSet
from intaglio.metrics.statistics.paired_flips import flipped_p, smallest_p
from intaglio.models.scored_network import ScoredNetwork
from intaglio.randomness import generator
from intaglio.runs.picture_batches import content_order
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.verbs import FileName

Others = Float[Tensor, "m 3 h w"]
KIND = "edges"
FEWEST = 4
"""Pictures of the class, and of others, at least."""


@dataclass(frozen=True, kw_only=True)
class PathFinder(ABC):
    """A way to tell which edges between filters of neighbouring layers carry a class's score.

    Of the pictures that the network calls the class, half, drawn by their content, chooses the edges that are asked
    about, those of the largest first-order effects of each layer, and the rest tests them. An edge's effect is the fall
    of the score when it is cut: when the target gets, in place of the source's map, its mean over the pictures that are
    called something else. It is tested by flipping the signs of the pictures' effects, with the false-discovery rate of
    all tested edges controlled after Benjamini and Hochberg: of the edges that pass, not of those of them that lie on a
    path of such edges to the class, which make the class graph. The graph is looked at on the pictures that tested it.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """The effect in words, as the end of a sentence that begins "An effect is"."""
    at_once: ClassVar[int]
    """Edges of a layer whose effects are stored together, so that a killed call loses no more."""

    depth: int = 2
    """Convolutions, counted from the head, whose edges are asked about, from 1; the head's own are always."""
    screened: int = 500
    """Edges of each layer that are tested, from 1."""
    rate: float = 0.05
    """False-discovery rate of tested edges, in (0, 1)."""
    flips: int = 5000
    """Random flips of signs of a test, from 100; all are taken where there are no more."""
    batch: int = 64
    """Pictures that go through the network together, from 1; the result is the same, up to its rounding."""
    seed: int = 0
    """Seed of flips and of random graphs, from 0."""

    def __post_init__(self) -> None:
        for name in ("depth", "screened", "batch"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        require(0 < self.rate < 1, f"rate must be in (0, 1), not {self.rate}")
        require(self.flips >= 100, f"flips must be at least 100, not {self.flips}")
        require(0 <= self.seed < 2**32, f"seed must be 0 to 2**32 - 1, not {self.seed}")

    @abstractmethod
    def effects(self, chain: FilterChain, edges: Sequence[FilterEdge], pixels: Pictures) -> Float[Tensor, "n e"]:
        """Effects of edges of one layer on each picture, on the CPU: above 0 where the score falls without the edge."""

    @abstractmethod
    def passes(self, pictures: int, layers: int) -> int:
        """Pictures that go through the network for the effects, with so many tested pictures and layers."""

    def __call__(self, scored: ScoredNetwork, images: ImageSet, target: int, *, run: Run = Run.none()) -> ClassGraph:
        """The graph of one class.

        Args:
            scored: left as it was found; a chain of convolutions where it is asked about, with a linear head.
            images: of the class and of others, by what the network calls them.
            target: place of the class.
            run: progress, records and warnings; a killed call goes on after the last edges that were stored.

        Raises:
            BadInput: for too few pictures of the class or of others, and for a network that is no such chain.
            IntaglioError: for effects that are not finite.
        """
        own, others = split_pictures(scored, images[content_order(images)], target)
        chain = filter_chain(scored, target, self.depth, others, self.batch)
        screening, testing = own[::2], own[1::2]
        key = digest([repr(self), scored.hash, target, list(images.hashes)])
        known = {name: one for name, one in run.recorded(KIND).items() if one.get("key") == key}
        slopes = _mean_slopes(chain, screening, self.batch)
        pieces = self._pieces(slopes)
        with run.progress(len(pieces), self.name, len(known)) as progress:
            for name, edges in pieces.items():
                if name not in known:
                    parts = [self.effects(chain, edges, one) for one in testing.split(self.batch)]
                    known[name] = {"key": key, "effects": torch.cat(parts).double().tolist()}
                    run.record(KIND, name, known[name])
                    progress.advance()
        every = [edge for edges in pieces.values() for edge in edges]
        effects = torch.cat([torch.tensor(known[name]["effects"], dtype=torch.float64) for name in pieces], 1)
        found = self._graph(chain, every, effects, testing, len(others))
        few = smallest_p(len(testing), self.flips) * len(found.edges) > self.rate
        if few and not bool(found.kept.any()):
            run.warn(
                f"{len(testing)} tested pictures are few for {len(found.edges)} edges: an edge by itself could not "
                "pass; give more pictures of the class, or fewer --screened"
            )
        return found

    def _pieces(self, slopes: Sequence[Float[Tensor, "j i"]]) -> dict[str, list[FilterEdge]]:
        """Edges that are tested, of one layer each, as many as are stored at once, by a name."""
        pieces = {}
        for layer, one in enumerate(slopes):
            edges = largest_edges(layer, one, self.screened)
            pieces |= {f"{layer}-{k}": edges[k : k + self.at_once] for k in range(0, len(edges), self.at_once)}
        return pieces

    def _graph(
        self,
        chain: FilterChain,
        edges: Sequence[FilterEdge],
        effects: Float[Tensor, "n e"],
        testing: Pictures,
        others: int,
    ) -> ClassGraph:
        if not bool(effects.isfinite().all()):
            raise IntaglioError(f"{self.name} gives numbers that are not finite; check the network's file")
        p = flipped_p(effects.numpy(), self.flips, self.seed)
        q = false_discovery_control(p)
        kept = on_paths(edges, [bool(one <= self.rate) for one in q], len(chain.modules))
        graph = [edge for edge, whether in zip(edges, kept, strict=True) if whether]
        called = {
            "whole": chain.scored.logits(testing).cpu(),
            "graph": chain.with_only(graph, testing),
            "random": chain.with_only(_random_edges(chain, graph, self.seed), testing),
            "nothing": chain.with_only([], testing),
        }
        shares = {name: float((one.argmax(1) == chain.target).double().mean()) for name, one in called.items()}
        scores = {name: float(chain.scored.scored(one, chain.target).double().mean()) for name, one in called.items()}
        about = (self.name, self.reading, chain.scored.head, chain.names, chain.sources, self.rate, others)
        tests = (effects, torch.from_numpy(p), torch.from_numpy(q), torch.tensor(kept))
        return ClassGraph(*about, tuple(edges), *tests, shares, scores)


def split_pictures(scored: ScoredNetwork, images: ImageSet, target: int) -> tuple[Pictures, Others]:
    """Pictures that the network calls the class, and the others. Raises `BadInput` for too few of either."""
    called = scored.called(images.pixels) == target
    own, others = images.pixels[called], images.pixels[~called]
    name = scored.classes[target]
    for count, what in ((len(own), name), (len(others), f"something other than {name}")):
        if count < FEWEST:
            raise BadInput(f"the network calls {count} of {len(called)} pictures {what}; give {FEWEST} or more of such")
    return own, others


def largest_edges(layer: int, slopes: Float[Tensor, "j i"], count: int) -> list[FilterEdge]:
    """The edges of a layer of the largest effects by size."""
    order = slopes.abs().flatten().argsort(descending=True, stable=True)[:count].tolist()
    return [FilterEdge(layer, place % slopes.shape[1], place // slopes.shape[1]) for place in order]


def on_paths(edges: Sequence[FilterEdge], passed: Sequence[bool], layers: int) -> list[bool]:
    """Marks of edges that passed and lie on a path of such edges to the class."""
    reached: dict[int, set[int]] = {layers: {0}}
    for layer in reversed(range(layers)):
        own = [e for e, one in zip(edges, passed, strict=True) if one and e.layer == layer]
        reached[layer] = {e.source for e in own if e.target in reached[layer + 1]}
    return [one and e.target in reached[e.layer + 1] for e, one in zip(edges, passed, strict=True)]


def _mean_slopes(chain: FilterChain, pixels: Pictures, batch: int) -> list[Float[Tensor, "j i"]]:
    parts = [[one.double().sum(0) for one in chain.slopes(part)] for part in pixels.split(batch)]
    return [torch.stack(several).sum(0) / len(pixels) for several in zip(*parts, strict=True)]


def _random_edges(chain: FilterChain, graph: Sequence[FilterEdge], seed: int) -> list[FilterEdge]:
    """As many random edges of each layer."""
    found = []
    for layer in range(len(chain.modules)):
        targets, sources = chain.sizes(layer)
        count = sum(edge.layer == layer for edge in graph)
        drawn = torch.randperm(targets * sources, generator=generator(seed, "random graph", layer))[:count].tolist()
        found += [FilterEdge(layer, place % sources, place // sources) for place in drawn]
    return found
