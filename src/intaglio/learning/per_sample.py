"""Gradients of a network's weights for every sample by itself, their norms, and their clipping.

Gradients are mappings from the weights' names to [m, *shape], a row a sample.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

Gradients = Mapping[str, Float[Tensor, "m *shape"]]
"""A row a sample, by the weights' names."""


class _Bound(nn.Module):
    """A function of one sample that calls the network, as a module whose weights can be given."""

    def __init__(self, network: nn.Module, value: Callable[..., Tensor]):
        super().__init__()
        self.network, self.value = network, value

    def forward(self, *sample: Tensor) -> Tensor:
        return self.value(*sample)


def per_sample_gradients(
    network: nn.Module,
    weights: Sequence[str],
    value: Callable[..., Float[Tensor, ""]],
    samples: Sequence[Tensor],
    *,
    at_once: int = 1,
) -> Iterator[Gradients]:
    """The gradients of a number, sample by sample, by the chosen weights; the network is left as found.

    One at a time they are plain gradients. Several go through one call that is vectorised over the samples
    (`torch.func`), with attention in its plain form, as its fused ones cannot be vectorised; they differ by rounding.
    Where a sample is a batch by itself, one at a time is as fast on a CPU, and takes the memory of one gradient.

    Args:
        network: whose weights are asked about.
        weights: names of its parameters; of those that the number does not depend on, gradients are zero.
        value: from one sample, a row of each of `samples`, to a number [], by calling the network.
        samples: tensors [n, ...], n the number of samples, on the network's device.
        at_once: samples at a time, from 1.

    Yields:
        Gradients [m, *shape] of the samples in order, m at most `at_once`.
    """
    bound = _Bound(network, value)
    own = dict(network.named_parameters())
    given = {f"network.{name}": own[name].detach() for name in weights}

    def called(replaced: dict[str, Tensor], *sample: Tensor) -> Tensor:
        return functional_call(bound, replaced, sample)

    for start in range(0, len(samples[0]), at_once):
        part = [column[start : start + at_once] for column in samples]
        if len(part[0]) == 1:
            yield _plain(called, given, [column[0] for column in part])
            continue
        with sdpa_kernel(SDPBackend.MATH):
            rows = vmap(grad(called), in_dims=(None, *(0 for _ in part)))(given, *part)
        yield {name.removeprefix("network."): row.detach() for name, row in rows.items()}


def _plain(called: Callable[..., Tensor], given: Mapping[str, Tensor], sample: Sequence[Tensor]) -> Gradients:
    leaves = {name: weight.detach().requires_grad_() for name, weight in given.items()}
    with torch.enable_grad():
        found = torch.autograd.grad(called(leaves, *sample), list(leaves.values()), materialize_grads=True)
    return {name.removeprefix("network."): row[None] for name, row in zip(leaves, found, strict=True)}


def tensor_norms(gradients: Gradients) -> Float[Tensor, "m weights"]:
    """The Euclidean norm of each sample's gradient by each tensor of weights, in the mapping's order."""
    return torch.stack([rows.reshape(len(rows), -1).norm(dim=1) for rows in gradients.values()], dim=1)


def clipped(gradients: Gradients, bound: float) -> Gradients:
    """The same rows, those whose norm over all tensors is above `bound`, more than 0, scaled down to it."""
    norms = tensor_norms(gradients).norm(dim=1)
    factors = (bound / norms.clamp(min=bound)).to(norms)
    return {
        name: rows * factors.view(-1, *(1 for _ in rows.shape[1:])).to(rows.dtype) for name, rows in gradients.items()
    }
