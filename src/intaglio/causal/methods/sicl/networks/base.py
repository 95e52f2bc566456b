"""The contract of networks for supervised causal discovery: outputs, true graphs, losses."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from intaglio.causal.methods.sicl.networks.encoding import Encoded

Triples = Int[Tensor, "t 4"]
"""Rows of (table, centre, leg, leg), as indices."""


@dataclass(frozen=True, eq=False)
class NetworkOutput:
    """The output of a network for a batch of tables, in logits."""

    skeleton: Float[Tensor, "b d d"]
    """Logits that a pair is adjacent; symmetric, the diagonal is not used."""
    colliders: Callable[[Triples], Float[Tensor, "t"]]
    """Logits that both legs of a triple point at its centre; symmetric in the legs."""
    marks: Float[Tensor, "b d d 3"] | None = None
    """Logits, given adjacency, of i → j compelled, j → i compelled, reversible; None for networks without this head."""
    arrows: Float[Tensor, "b d d"] | None = None
    """Logits that i → j is in the DAG; Node-Edge networks only."""


@dataclass(frozen=True, eq=False)
class TrueGraphs:
    """The graphs that a batch of tables was drawn from."""

    adjacency: Bool[Tensor, "b d d"]
    """[k, i, j]: i → j in the DAG."""
    compelled: Bool[Tensor, "b d d"]
    """[k, i, j]: i → j in the CPDAG."""

    @property
    def skeleton(self) -> Bool[Tensor, "b d d"]:
        """[k, i, j]: i and j are adjacent."""
        return self.adjacency | self.adjacency.transpose(1, 2)

    def collider_labels(self, triples: Triples) -> Float[Tensor, "t"]:
        """1 where both legs have compelled arrows to the centre, else 0.

        On unshielded triples these are the v-structures. On shielded ones the label is still a function of the Markov
        equivalence class, so that triples that are unshielded only in a predicted skeleton can be trained on too.
        """
        table, centre, leg, other = triples.unbind(1)
        return (self.compelled[table, leg, centre] & self.compelled[table, other, centre]).float()


class Network(nn.Module, ABC):
    """A network from encoded tables to logits; equivariant to the order of columns, deterministic in eval mode."""

    shape: Any
    """The dataclass of the network's size."""

    @abstractmethod
    def forward(self, tables: Encoded) -> NetworkOutput:
        """The logits of each table, independent of the other tables in the batch."""

    @abstractmethod
    def losses(self, tables: Encoded, truth: TrueGraphs) -> Mapping[str, Float[Tensor, ""]]:
        """The training losses by name; their sum is minimised."""


def unshielded(skeleton: Bool[Tensor, "b d d"]) -> Triples:
    """All unshielded triples of a skeleton, with the first leg before the second."""
    d = skeleton.shape[-1]
    apart = torch.triu(~skeleton, 1)
    open_ = skeleton[:, :, :, None] & skeleton[:, :, None, :] & apart[:, None, :, :]
    distinct = ~torch.eye(d, dtype=torch.bool, device=skeleton.device)
    return (open_ & distinct[None, :, :, None] & distinct[None, :, None, :]).nonzero()


def skeleton_loss(logits: Float[Tensor, "b d d"], truth: TrueGraphs) -> Float[Tensor, ""]:
    """Mean cross-entropy over unordered pairs."""
    d = logits.shape[-1]
    above = torch.triu(torch.ones(d, d, dtype=torch.bool, device=logits.device), 1)
    return cross_entropy(logits[:, above], truth.skeleton[:, above].float()) if d > 1 else logits.sum() * 0


def collider_loss(
    output: NetworkOutput, truth: TrueGraphs, predicted: Float[Tensor, "b d d"] | None = None, weight: float = 0.25
) -> Float[Tensor, ""]:
    """Mean cross-entropy over unshielded triples of the truth, and of a predicted skeleton at a smaller weight."""
    real = unshielded(truth.skeleton)
    total, members = output.skeleton.new_zeros(()), 0.0
    if len(real):
        total, members = _sum(output, truth, real), float(len(real))
    if predicted is not None:
        legs = unshielded((predicted.detach() > 0) & _off_diagonal(predicted))
        table, centre, leg, other = legs.unbind(1)
        known = truth.skeleton[table, centre, leg] & truth.skeleton[table, centre, other]
        known &= ~truth.skeleton[table, leg, other]
        if len(extra := legs[~known]):
            total, members = total + weight * _sum(output, truth, extra), members + weight * len(extra)
    return total / max(members, 1.0)


def _sum(output: NetworkOutput, truth: TrueGraphs, triples: Triples) -> Float[Tensor, ""]:
    return cross_entropy(output.colliders(triples), truth.collider_labels(triples), reduction="sum")


def _off_diagonal(matrix: Float[Tensor, "b d d"]) -> Bool[Tensor, "d d"]:
    return ~torch.eye(matrix.shape[-1], dtype=torch.bool, device=matrix.device)


def mark_loss(logits: Float[Tensor, "b d d 3"], truth: TrueGraphs) -> Float[Tensor, ""]:
    """Mean cross-entropy over true edges between i → j, j → i and reversible."""
    backward = truth.compelled.transpose(1, 2)
    label = torch.where(truth.compelled, 0, torch.where(backward, 1, 2))
    edges = torch.triu(truth.skeleton, 1)
    chosen = logits[edges]
    return nn.functional.cross_entropy(chosen, label[edges]) if len(chosen) else logits.sum() * 0


def parameter_count(network: nn.Module) -> int:
    """The number of weights of a network."""
    return sum(weight.numel() for weight in network.parameters())
