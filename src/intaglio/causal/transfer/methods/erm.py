"""erm: one classifier of all rows, wherever they are from."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from intaglio.causal.transfer.encoded_outcomes import EncodedOutcomes
from intaglio.causal.transfer.family import EnvironmentTransfer
from intaglio.causal.transfer.transfer_network import TransferNetwork
from intaglio.errors import require


@dataclass(frozen=True, kw_only=True)
class PooledClassifier(EnvironmentTransfer):
    """Cross-entropy of all known rows together, environments being ignored.

    Empirical risk minimisation. Rows of the target change nothing unless their outcomes are known; then all weights
    are tuned to them and to the known environments, each half of the loss.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "a classifier of all known rows, whatever their environment"

    numbers: int = 16
    """Numbers that the encoder gives, 1 to 128."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.numbers <= 128, f"numbers must be 1 to 128, not {self.numbers}")

    def network(self, inputs: int, classes: int, environments: int) -> TransferNetwork:
        """See the base."""
        return EncodedOutcomes(inputs, classes, self.numbers, self.hidden, self.seed)
