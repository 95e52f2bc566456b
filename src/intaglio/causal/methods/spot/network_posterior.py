"""`NetworkPosterior`: the skeleton posterior by SiCL's network, recalibrated for adjacency in the MAG."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy.special import expit, logit

from intaglio.causal.methods.sicl.networks.encoding import CONTINUOUS
from intaglio.causal.methods.sicl.networks.inference import logits_of, scaled_by_powers_of_two
from intaglio.causal.methods.sicl.networks.weights import WEIGHTS, TrainedNetwork, load_network, network_path
from intaglio.causal.methods.spot.correlations import Correlations
from intaglio.causal.methods.spot.odds_calibration import SMALLEST_SCORE, OddsCalibration
from intaglio.causal.methods.spot.posterior import SkeletonProbabilities, TrainingRanges, inclusion_of
from intaglio.data_files import Fields
from intaglio.errors import BadInput
from intaglio.files import PACKAGE, atomic_write, file_hash
from intaglio.runs.plain_json import to_json

SHIPPED_CALIBRATION = PACKAGE / "causal/methods/spot/shipped/network.json"
FORMAT_NAME, FORMAT = "skeleton posterior of a network", 1
NETWORK = "light"
"""The network of SiCL whose skeleton head gives the scores."""
REMEDY = "give the file as `intaglio causal train-skeleton` wrote it"
_KEYS = {True: "with hidden causes", False: "without hidden causes"}


@dataclass(frozen=True, eq=False)
class NetworkPosterior:
    """SiCL's skeleton head (arXiv 2502.10883) with calibrations for MAGs; an estimator of the posterior.

    The network is trained on DAGs without hidden causes, where a pair is adjacent in the CPDAG. Its logits tell pairs
    that are adjacent in a MAG from others too, but their odds are not those of a MAG; the calibration gives them back,
    once for models with hidden common causes and once for those without. All columns are taken for numbers.
    """

    network: str
    """SHA-256 of the weights of the network that the calibrations are of."""
    calibrations: Mapping[bool, OddsCalibration]
    """Calibration of the network's probability, by whether there may be hidden causes."""
    ranges: TrainingRanges
    """Ranges of the tables that the calibrations were fitted on."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the calibration and figures on held-out simulations, as plain values."""
    hidden_causes: bool = True
    """Which calibration a call takes."""
    device: str = "cpu"
    """Torch device of the network."""

    def __call__(
        self, correlations: Correlations, seed: int = 0, values: Float64[ndarray, "n d"] | None = None
    ) -> SkeletonProbabilities:
        """See `SkeletonPosterior.__call__`; the network is deterministic, whatever the seed.

        Raises:
            BadInput: no rows, or a network other than that of the calibrations.
        """
        if values is None:
            raise BadInput("the network's posterior needs the rows of a table; take the cascade for correlations alone")
        if own_hash() != self.network:
            raise BadInput("the posterior is calibrated for another network; make it with this version of the package")
        d = len(correlations.names)
        score = network_scores(own_network(self.device), values)
        posterior = self.calibrations[self.hidden_causes](score, d, correlations.rows)
        np.fill_diagonal(posterior, 0.0)
        flags = self.ranges.flags(correlations, posterior)
        return SkeletonProbabilities(correlations.names, posterior, inclusion_of(balanced(posterior)), flags)

    def save(self, path: Path) -> None:
        """Writes it as JSON."""
        stored = {
            "format": FORMAT_NAME,
            "version": FORMAT,
            "network": self.network,
            "calibrations": {_KEYS[hidden]: asdict(one) for hidden, one in self.calibrations.items()},
            "ranges": asdict(self.ranges),
            "facts": dict(self.facts),
        }
        atomic_write(path, to_json(stored, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "NetworkPosterior":
        """The posterior in a file. Raises `BadInput` where it cannot be used."""
        stored = Fields.read(path, REMEDY)
        if stored.text("format", "") != FORMAT_NAME or stored.whole("version") != FORMAT:
            raise BadInput(f"{path} holds no {FORMAT_NAME} of version {FORMAT}; {REMEDY}")
        kept = stored.table("calibrations")
        try:
            calibrations = {hidden: _calibration(kept.table(key)) for hidden, key in _KEYS.items()}
            ranges = TrainingRanges(**{name: _range(stored.table("ranges"), name) for name in _RANGES})
        except ValueError as wrong:
            raise BadInput(f"{path}: {wrong}; {REMEDY}") from None
        return cls(stored.text("network"), calibrations, ranges, stored.table("facts").values)


_RANGES = ("variables", "rows", "density")


def _calibration(stored: Fields) -> OddsCalibration:
    return OddsCalibration(**{name: stored.number(name) for name in asdict(OddsCalibration())})


def _range(stored: Fields, name: str) -> tuple[Any, Any]:
    low, high = stored.numbers(name, count=2)
    return (low, high) if name == "density" else (int(low), int(high))


def own_hash() -> str:
    """SHA-256 of the weights of the package's network; its own calibrations have no part here."""
    return file_hash(network_path(NETWORK) / WEIGHTS)


def own_network(device: str = "cpu") -> TrainedNetwork:
    """The package's network."""
    return load_network(NETWORK, device=device)


def network_weights() -> dict[str, str]:
    """The file of the package's network and its hash."""
    return {"path": str(network_path(NETWORK) / WEIGHTS), "sha256": own_hash()}


def network_scores(network: TrainedNetwork, values: Float64[ndarray, "n d"]) -> Float64[ndarray, "d d"]:
    """Uncalibrated probabilities of the network that pairs are adjacent; equivariant in the columns, without units."""
    kinds = np.full(values.shape[1], CONTINUOUS)
    scaled = scaled_by_powers_of_two(values, kinds)
    logits = logits_of(network.network, scaled[None], kinds[None], network.context)[0].skeleton
    return expit(logits.astype(np.float64))


def balanced(posterior: Float64[ndarray, "d d"]) -> Float64[ndarray, "d d"]:
    """The posterior with the odds of its own expected rate taken off: scores as of equally many adjacent pairs."""
    off = ~np.eye(len(posterior), dtype=bool)
    inside = np.clip(posterior, SMALLEST_SCORE, 1 - SMALLEST_SCORE)
    return np.where(off, expit(logit(inside) - logit(inside[off].mean())), 0.0)
