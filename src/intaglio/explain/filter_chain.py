"""A network as a chain of convolutions and a head, whose edges between filters can be cut one by one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from intaglio.errors import BadInput
from intaglio.models.scored_network import ScoredNetwork

Pictures = Float[Tensor, "n 3 h w"]
ALL = slice(None)


@dataclass(frozen=True)
class FilterEdge:
    """An edge: what one filter's map, or mean, adds to a filter of the next convolution, or to the class."""

    layer: int
    """Place among the chain's layers, the head being the last."""
    source: int
    """Number of the filter that it comes from."""
    target: int
    """Number of the filter that it goes to; 0 for the head, which stands for the class."""


@dataclass(frozen=True, eq=False)
class FilterChain:
    """Neighbouring convolutions from one of them to the head, with what each takes on a mean over a reference set.

    An edge is cut by putting the source's mean in its place, for the target alone and before any normalisation.
    """

    scored: ScoredNetwork
    target: int
    """Place of the class."""
    names: tuple[str, ...]
    """Of each layer's module; the head's is the class's name."""
    sources: tuple[str, ...]
    """Of the module whose filters each layer takes."""
    modules: tuple[nn.Module, ...]
    means: tuple[Tensor, ...]
    """What each takes on a mean: maps [c, h, w], for the head numbers [c]."""

    def sizes(self, layer: int) -> tuple[int, int]:
        """Targets and sources of a layer."""
        weight = _weight(self.modules[layer])
        return (1 if layer == len(self.modules) - 1 else len(weight), weight.shape[1])

    @torch.no_grad()
    def scores(self, pixels: Pictures) -> Float[Tensor, "n"]:
        """Scores of the class, on the CPU."""
        return self.scored.score(pixels, self.target).cpu()

    @torch.no_grad()
    def without(self, edge: FilterEdge, pixels: Pictures) -> Float[Tensor, "n"]:
        """Scores with one edge cut, on the CPU."""

        def cut(given: Tensor, output: Tensor) -> Tensor:
            module, i = self.modules[edge.layer], edge.source
            change = given[:, i : i + 1] - self.means[edge.layer][i : i + 1]
            if isinstance(module, nn.Linear):
                return output - change * module.weight[:, i]
            j = edge.target
            part = _convolved(module, change, _weight(module)[j : j + 1, i : i + 1])
            return torch.cat([output[:, :j], output[:, j : j + 1] - part, output[:, j + 1 :]], 1)

        with self._changed({edge.layer: cut}):
            return self.scores(pixels)

    @torch.no_grad()
    def with_only(self, kept: Sequence[FilterEdge], pixels: Pictures) -> Float[Tensor, "n k"]:
        """Logits when all edges but some are cut, on the CPU."""

        def masked(layer: int) -> Any:
            module = self.modules[layer]
            cut = torch.ones(_weight(module).shape[:2], device=self.scored.device)
            for edge in kept:
                if edge.layer == layer:
                    cut[ALL if isinstance(module, nn.Linear) else edge.target, edge.source] = 0

            def change(given: Tensor, output: Tensor) -> Tensor:
                left = given - self.means[layer]
                if isinstance(module, nn.Linear):
                    return output - functional.linear(left, module.weight * cut)
                return output - _convolved(module, left, _weight(module) * cut[:, :, None, None])

            return change

        with self._changed({layer: masked(layer) for layer in range(len(self.modules))}):
            return self.scored.logits(pixels).cpu()

    def slopes(self, pixels: Pictures) -> list[Float[Tensor, "n j i"]]:
        """First-order effects of all edges by layer: how far the score would fall with each cut, on the CPU."""
        given, outputs = [dict[int, Tensor]() for _ in range(2)]

        def keep(layer: int) -> Any:
            def kept(one: Tensor, output: Tensor) -> Tensor:
                given[layer] = one.detach()
                outputs[layer] = output if output.requires_grad else output.detach().requires_grad_()
                return outputs[layer]

            return kept

        layers = range(len(self.modules))
        with torch.enable_grad(), self._changed({layer: keep(layer) for layer in layers}):
            score = self.scored.score(pixels, self.target).sum()
        found = torch.autograd.grad(score, [outputs[layer] for layer in layers])
        return [self._first_order(layer, given[layer], found[layer]) for layer in layers]

    def _first_order(self, layer: int, given: Tensor, slope: Tensor) -> Float[Tensor, "n j i"]:
        """Slope by the target's output times what the source adds to it beyond its mean, summed over places."""
        module, change = self.modules[layer], given - self.means[layer]
        weight = _weight(module).detach()
        if isinstance(module, nn.Linear):
            return ((slope @ weight) * change)[:, None].cpu()
        options = {name: getattr(module, name) for name in ("stride", "padding", "dilation")}
        rows = [
            (conv2d_weight(one[None], weight.shape, back[None], **options) * weight).sum((2, 3))
            for one, back in zip(change, slope, strict=True)
        ]
        return torch.stack(rows).cpu()

    @contextmanager
    def _changed(self, changes: Mapping[int, Any]) -> Iterator[None]:
        """While the block runs, layers give what changes make of (what they take, what they give)."""
        with ExitStack() as hooks:
            for layer, change in changes.items():
                handle = self.modules[layer].register_forward_hook(
                    lambda module, given, output, change=change: change(given[0], output)
                )
                hooks.callback(handle.remove)
            yield


@torch.no_grad()
def filter_chain(
    scored: ScoredNetwork,
    target: int,
    depth: int | None,
    reference: Pictures,
    batch: int,
    weights: Float[Tensor, "n"] | None = None,
) -> FilterChain:
    """The last `depth` convolutions that take filters of another, all for None, and the head.

    Means are over reference pictures, weighed where weights are given. Raises `BadInput` for a network that is no chain
    of plain convolutions there.
    """
    convolutions = _called(scored)
    depth = max(len(convolutions) - 1, 1) if depth is None else depth
    if len(convolutions) <= depth:
        raise BadInput(f"the network has {len(convolutions)} convolutions; give a --depth below that")
    chain = convolutions[-depth - 1 :]
    head = scored.head_layer
    for (before, one), (name, other) in pairwise(chain):
        if other.in_channels != one.out_channels or other.groups != 1 or other.padding_mode != "zeros":
            raise BadInput(
                f"{name} does not take the filters of {before} one by one: paths are of chains of plain convolutions; "
                "give another network, or a smaller --depth"
            )
    _check_alone(scored, chain, head, reference[:2])
    if not isinstance(head, nn.Linear) or head.in_features != chain[-1][1].out_channels:
        raise BadInput("the network's head does not take one number of each last filter; give another network")
    modules = [*(module for _, module in chain[1:]), head]
    names = [name for name, _ in chain]
    shares = torch.ones(len(reference)) if weights is None else weights
    means = _means(scored, modules, reference.split(batch), (shares / shares.sum()).split(batch))
    return FilterChain(scored, target, (*names[1:], scored.classes[target]), tuple(names), tuple(modules), means)


def _means(
    scored: ScoredNetwork, modules: Sequence[nn.Module], parts: Sequence[Pictures], shares: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Means of what modules take, over pictures that count as their shares say."""
    totals, seen = [torch.zeros(()) for _ in modules], list[Tensor]()
    handles = [one.register_forward_pre_hook(lambda module, given: seen.append(given[0])) for one in modules]
    try:
        for part, share in zip(parts, shares, strict=True):
            seen.clear()
            scored.logits(part)
            weighed = [torch.einsum("n,n...->...", share.to(one), one) for one in seen]
            totals = [total + one for total, one in zip(totals, weighed, strict=True)]
    finally:
        for handle in handles:
            handle.remove()
    return tuple(totals)


def _check_alone(
    scored: ScoredNetwork, chain: Sequence[tuple[str, nn.Conv2d]], head: nn.Module | None, pixels: Pictures
) -> None:
    """Raises `BadInput` where what a layer takes is more than what the convolution before it gives.

    With that convolution's output put to 0, two pictures must give the layer the same.
    """
    later = [*((name, module) for name, module in chain[1:]), ("the head", head)]
    for (before, one), (name, module) in zip(chain, later, strict=True):
        seen = list[Tensor]()
        handles = [one.register_forward_hook(_nothing)]
        if module is not None:
            handles.append(module.register_forward_pre_hook(lambda module, given, seen=seen: seen.append(given[0])))
        try:
            scored.raw_logits(pixels.to(scored.device))
        finally:
            for handle in handles:
                handle.remove()
        if any(not torch.allclose(found[0], found[1], atol=1e-5) for found in seen):
            raise BadInput(
                f"{name} takes more than {before} gives, such as a sum of branches: paths are of chains of plain "
                "convolutions; give another network, or a smaller --depth"
            )


def _nothing(module: nn.Module, given: Any, output: Tensor) -> Tensor:
    """A hook by which a module gives zeros."""
    return torch.zeros_like(output)


def _called(scored: ScoredNetwork) -> list[tuple[str, nn.Conv2d]]:
    """Convolutions in the order of their calls."""
    found = list[tuple[str, nn.Conv2d]]()
    handles = [
        module.register_forward_hook(lambda *_, name=name, module=module: found.append((name, module)))
        for name, module in scored.network.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    try:
        scored.raw_logits(torch.ones(1, 3, scored.side, scored.side, device=scored.device))
    finally:
        for handle in handles:
            handle.remove()
    return found


def _weight(module: nn.Module) -> Tensor:
    weight = module.weight
    return weight if isinstance(weight, Tensor) else torch.zeros(0)


def _convolved(module: nn.Module, given: Tensor, weight: Tensor) -> Tensor:
    options = {name: getattr(module, name) for name in ("stride", "padding", "dilation")}
    return functional.conv2d(given, weight, **options)
