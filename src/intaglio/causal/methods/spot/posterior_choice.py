"""The choice of a skeleton posterior by its name or its file."""

from dataclasses import replace
from pathlib import Path

from intaglio.causal.methods.spot.cascade import SHIPPED, SkeletonCascade
from intaglio.causal.methods.spot.network_posterior import SHIPPED_CALIBRATION, NetworkPosterior, network_weights
from intaglio.causal.methods.spot.posterior import SkeletonPosterior
from intaglio.errors import BadInput
from intaglio.files import file_hash

OWN = {"cascade": SHIPPED, "network": SHIPPED_CALIBRATION}
"""The package's posteriors by name."""


def posterior_file(named: str | Path) -> Path:
    """The file of a posterior: one of the package's by name, or a path. Raises `BadInput` where there is none."""
    path = OWN.get(str(named), Path(named))
    if not path.is_file():
        raise BadInput(
            f"{named} is no skeleton posterior: give {', '.join(OWN)}, or a file of `intaglio causal train-skeleton` "
            "(cascade.safetensors, network.json)"
        )
    return path


def posterior_weights(named: str | Path) -> dict[str, dict[str, str]]:
    """Path and hash of the files that a posterior consists of. Raises `BadInput` where there is none."""
    path = posterior_file(named)
    found = {"posterior": {"path": str(path), "sha256": file_hash(path)}}
    return {**found, "network": network_weights()} if path.suffix == ".json" else found


def chosen_posterior(named: str | Path, *, hidden_causes: bool, device: str) -> SkeletonPosterior:
    """The estimator of a posterior, by name or file; a file whose name ends in .json is a network's.

    Raises:
        BadInput: a file that cannot be used.
    """
    path = posterior_file(named)
    if path.suffix == ".json":
        return replace(NetworkPosterior.load(path), hidden_causes=hidden_causes, device=device)
    return replace(SkeletonCascade.load(path), hidden_causes=hidden_causes)
