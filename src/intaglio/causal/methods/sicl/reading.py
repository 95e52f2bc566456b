"""`Reading`: what a network says of a table, calibrated, and how far the features of the table let it be trusted."""

from dataclasses import dataclass, replace
from functools import cached_property

from jaxtyping import Float
from numpy import ndarray

from intaglio.causal.methods.sicl.decoding.rare_levels import bounded_logits
from intaglio.causal.methods.sicl.evidence import TableEvidence, column_keys, evidence_of, kind_codes
from intaglio.causal.methods.sicl.networks.inference import Logits, scaled_by_powers_of_two
from intaglio.causal.methods.sicl.networks.weights import TrainedNetwork
from intaglio.causal.methods.sicl.trust_features import TrustFeatures, trust_features
from intaglio.causal.tables.assumptions import ExaminedTable


@dataclass(frozen=True, eq=False)
class Reading:
    """The logits of a table, by the rows of it that count."""

    trained: TrainedNetwork
    examined: ExaminedTable
    """The table, its numbers scaled by powers of two."""
    keys: tuple[bytes, ...]
    """A hash of each column's content, which breaks ties."""
    evidence: TableEvidence
    logits: Logits
    """Logits of the network, not calibrated."""

    @property
    def rows(self) -> float:
        """Rows that count."""
        return self.evidence.rows

    @cached_property
    def calibrated(self) -> Float[ndarray, "d d"]:
        """Calibrated logits of adjacency, as those of any table of this size."""
        return self.trained.calibration.skeleton(self.logits.skeleton, self.rows, len(self.keys))

    @cached_property
    def trusted(self) -> Float[ndarray, "d d"]:
        """The same, bounded by exact counts where levels are rare."""
        return self.bounded(self.calibrated)

    @cached_property
    def features(self) -> TrustFeatures | None:
        """The features that the recalibration takes; None for one column, and for a network of arrows."""
        if len(self.keys) < 2 or self.logits.arrows is not None:
            return None
        return trust_features(self.examined, self.evidence, self.trusted, self.logits.statistics)

    @cached_property
    def distrust(self) -> float:
        """Weight in [0, 1] of the recalibration beside the network."""
        found = self.trained.recalibration
        return 0.0 if found is None or self.features is None else found.distrust(self.features.aided)

    @cached_property
    def skeleton(self) -> Float[ndarray, "d d"]:
        """Logits of adjacency, recalibrated as far as the network is not to be trusted with this table."""
        found = self.trained.recalibration
        if found is None or self.features is None or not self.distrust:
            return self.trusted
        return self.bounded(found.mixed(self.trusted, self.features.pairs, self.distrust))

    def bounded(self, logits: Float[ndarray, "d d"]) -> Float[ndarray, "d d"]:
        """Logits bounded by exact counts where levels are rare."""
        return bounded_logits(logits, self.examined.table.values, self.evidence.kinds)


def read_table(trained: TrainedNetwork, examined: ExaminedTable) -> Reading:
    """The reading of a table."""
    table = examined.table
    scaled = replace(table, values=scaled_by_powers_of_two(table.values, kind_codes(table)))
    keys, examined = column_keys(scaled), replace(examined, table=scaled)
    evidence = evidence_of(examined, keys)
    return Reading(trained, examined, keys, evidence, evidence.logits(trained))
