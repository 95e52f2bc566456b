"""The causal layer: values of attributes from their own noises, causes before effects, and back."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from intaglio.explain.counterfactuals.attribute_graph import AttributeGraph

WIDTH = 32
"""Hidden numbers of a mechanism."""


class CausalLayer(nn.Module):
    """Mechanisms z_i = f_i(values of the causes of i) + u_i, with u_i [n] the attribute's own noise.

    f_i is a perceptron of one hidden layer; an attribute without causes is its noise. Values z and noises u are [n, d].
    """

    def __init__(self, graph: AttributeGraph):
        super().__init__()
        self.graph = graph
        self.mechanisms = nn.ModuleDict(
            {
                str(k): nn.Sequential(nn.Linear(len(parents), WIDTH), nn.SiLU(), nn.Linear(WIDTH, 1))
                for k, parents in enumerate(graph.parents)
                if parents
            }
        )

    def caused(self, values: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """f_i of every attribute at the values of its causes; 0 without causes."""
        columns = list(values.unbind(1))
        return torch.stack([self._caused(k, columns, one) for k, one in enumerate(columns)], 1)

    def noises(self, values: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The noises that these values have."""
        return values - self.caused(values)

    def values(
        self, noises: Float[Tensor, "n d"], changes: Mapping[int, Float[Tensor, "n"]] | None = None
    ) -> Float[Tensor, "n d"]:
        """Values that noises give, in the order of causes; those of `changes` are set, whatever their causes are."""
        changes = changes or {}
        found = list(noises.unbind(1))
        for k in self.graph.order:  # what stands at the places of its causes are values by now
            found[k] = changes[k] if k in changes else self._caused(k, found, found[k]) + found[k]
        return torch.stack(found, 1)

    def changed(self, values: Float[Tensor, "n d"], changes: Mapping[int, Float[Tensor, "n"]]) -> Float[Tensor, "n d"]:
        """Values after some are set: noises are read off first, and what the changes cause keeps its own."""
        return self.values(self.noises(values), changes)

    def _caused(self, k: int, columns: list[Tensor], like: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        parents = self.graph.parents[k]
        if not parents:
            return torch.zeros_like(like)
        return self.mechanisms[str(k)](torch.stack([columns[one] for one in parents], 1))[:, 0]
