"""A classifier on an encoder, with or without a penalty on how the encoder tells environments apart."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from intaglio.causal.transfer.skip_encoder import SkipEncoder
from intaglio.causal.transfer.transfer_network import RowBatch, Rows, TransferNetwork

Penalty = Callable[[Float[Tensor, "n k"], Int64[Tensor, "n"]], Float[Tensor, ""]]
"""Encoded rows and their environments to a number that is added to the loss."""


class EncodedOutcomes(TransferNetwork):
    """Cross-entropy of classes by an encoder and a head of the same kind.

    Args:
        inputs: numbers of a row.
        classes: outcomes.
        numbers: that the encoder gives.
        hidden: numbers between, of both networks.
        seed: of the first weights.
        penalty: on encoded rows; the target's rows count as an environment of their own. None leaves it out, and no
            refit without outcomes is done.
    """

    def __init__(self, inputs: int, classes: int, numbers: int, hidden: int, seed: int, penalty: Penalty | None = None):
        super().__init__()
        self.encoder = SkipEncoder(inputs, numbers, hidden, seed, "encoder")
        self.head = SkipEncoder(numbers, classes, hidden, seed, "head")
        self._penalty = penalty

    @torch.no_grad()
    def probabilities(self, features: Rows) -> Float[Tensor, "m c"]:
        """See the base."""
        return self.head(self.encoder(features)).softmax(-1)

    def loss(self, rows: RowBatch, noise: Generator) -> Float[Tensor, ""]:
        """See the base."""
        return self._both(rows, None)

    def refit_loss(self, target: Rows, rows: RowBatch, noise: Generator) -> Float[Tensor, ""]:
        """See the base."""
        return self._both(rows, target)

    def labelled_loss(self, labelled: RowBatch, target: Rows, rows: RowBatch, noise: Generator) -> Float[Tensor, ""]:
        """Of the known environments, and the cross-entropy of the target's outcomes, each weighing the same."""
        return self._both(rows, target) + cross_entropy(self.head(self.encoder(labelled.features)), labelled.labels)

    def refit_weights(self) -> Sequence[str]:
        """All of them, where there is a penalty."""
        return self.labelled_weights() if self._penalty is not None else ()

    def _both(self, rows: RowBatch, target: Rows | None) -> Float[Tensor, ""]:
        encoded = self.encoder(rows.features)
        loss = cross_entropy(self.head(encoded), rows.labels)
        places = rows.environments
        if self._penalty is None or places is None:
            return loss
        if target is not None:
            encoded = torch.cat([encoded, self.encoder(target)])
            places = torch.cat([places, places.new_full((len(target),), -1)])
        return loss + self._penalty(encoded, places)
