"""Networks from rows of numbers to outcomes, and the batches that they learn from."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Generator, Tensor, nn

Rows = Float[Tensor, "m d"]


@dataclass(frozen=True, eq=False)
class RowBatch:
    """Rows whose outcomes are known."""

    features: Float[Tensor, "n d"]
    """Standardised."""
    labels: Int64[Tensor, "n"]
    """Number of each row's class."""
    environments: Int64[Tensor, "n"] | None
    """Number of each row's environment, of those that are learnt from; None for rows of the target."""


class TransferNetwork(nn.Module, ABC):
    """A network with its objectives: on known environments, on rows of the target, and on its first outcomes."""

    @abstractmethod
    def probabilities(self, features: Rows) -> Float[Tensor, "m c"]:
        """Probability of each class; of a row whatever other rows there are."""

    @abstractmethod
    def loss(self, rows: RowBatch, noise: Generator) -> Float[Tensor, ""]:
        """The objective on rows of known environments."""

    @abstractmethod
    def refit_loss(self, target: Rows, rows: RowBatch, noise: Generator) -> Float[Tensor, ""]:
        """The objective on rows of the target whose outcomes are not known, beside a batch of the others."""

    @abstractmethod
    def labelled_loss(self, labelled: RowBatch, target: Rows, rows: RowBatch, noise: Generator) -> Float[Tensor, ""]:
        """The objective with rows of the target whose outcomes are known."""

    def refit_weights(self) -> Sequence[str]:
        """Names of the weights that the target's rows change; none where its outcomes are needed for that."""
        return ()

    def labelled_weights(self) -> Sequence[str]:
        """Names of the weights that outcomes of the target change."""
        return [name for name, _ in self.named_parameters()]

    def latents(self, features: Rows) -> dict[str, Float[Tensor, "m _"]]:
        """Causes that it finds in rows, by name; empty where it tells of none."""
        return {}
