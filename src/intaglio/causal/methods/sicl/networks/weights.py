"""Trained networks as folders of configuration, weights, trees of a recalibration and a card: shipped or any other."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from intaglio.causal.methods.sicl.networks.axial import Axial, AxialShape, NodeEdge
from intaglio.causal.methods.sicl.networks.base import Network
from intaglio.causal.methods.sicl.networks.light import Light, LightShape
from intaglio.causal.methods.sicl.networks.logit_scaling import Calibration
from intaglio.causal.methods.sicl.networks.out_of_distribution import FeatureRanges
from intaglio.causal.methods.sicl.networks.recalibration import Recalibration
from intaglio.data_files import LARGEST, read_bytes, read_json
from intaglio.errors import BadInput
from intaglio.files import PACKAGE, atomic_folder
from intaglio.models.weights_file import read_weights, refuse_pickle

CONFIG, WEIGHTS, TREES, CARD = "config.json", "model.safetensors", "recalibration.safetensors", "README.md"
FORMAT = 1
MOST_LAYERS, MOST_WIDTH = 100, 4096
"""Most layers, and largest other size, of a network that is built."""
LARGEST_WEIGHTS = 2**30
"""Largest file of weights that is read, in bytes."""
LARGEST_SCORE_WEIGHT = 100.0
"""Largest weight of BIC that is read; training gives 1 at most, and a search by huge scores does not end."""
LARGEST_COEFFICIENT = 1000.0
"""Largest coefficient of a calibration, of either sign; training gives 5 or so. A slope is positive by softplus."""
SHIPPED = PACKAGE / "causal/methods/sicl/shipped"
NETWORK_KINDS: dict[str, tuple[type[Any], type[Any]]] = {
    "light": (Light, LightShape),
    "axial": (Axial, AxialShape),
    "node-edge": (NodeEdge, AxialShape),
}


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network with its calibration and the facts of its training."""

    kind: str
    """One of `NETWORK_KINDS`."""
    network: Network
    context: int
    """Rows that it is given cell by cell at a time."""
    calibration: Calibration
    ranges: FeatureRanges
    """Ranges of the features of its training tables."""
    score_weights: Mapping[str, float]
    """Weight of BIC in the refinement of a graph, by `score_regime_key`; empty before it is fitted."""
    facts: Mapping[str, Any]
    """Facts of its training and calibration, as plain values."""
    fingerprint: str = ""
    """SHA-256 of configuration and weights; empty before it is saved."""
    recalibration: Recalibration | None = None
    """Trees that tell where its answers are not to be trusted; None where none were learnt, and all are trusted."""


def network_of(kind: str, shape: Mapping[str, int]) -> Network:
    """A network of one kind and size with random weights. Raises `BadInput` for an unknown kind or size."""
    if kind not in NETWORK_KINDS:
        raise BadInput(f"{kind!r} is no kind of network; there are {', '.join(NETWORK_KINDS)}")
    made, form = NETWORK_KINDS[kind]
    try:
        least = {"blocks": 0}
        if wrong := [name for name, value in shape.items() if not least.get(name, 1) <= value <= _most(name)]:
            raise TypeError(f"{wrong[0]} is {shape[wrong[0]]}")
        if (size := form(**shape)).width % size.heads:
            raise TypeError(f"{size.heads} heads do not divide a width of {size.width}")
        return made(size)
    except TypeError as error:
        raise BadInput(
            f"the size of a {kind} network is not understood ({error}); give the folder as it was written"
        ) from None


def _most(name: str) -> int:
    """The largest size that is built: sizes come from files of others."""
    return MOST_LAYERS if name in ("blocks", "pair_layers") else MOST_WIDTH


def save_network(trained: TrainedNetwork, folder: Path, card: str) -> None:
    """Writes configuration, half-precision weights and card, all or none."""
    weights = {
        name: tensor.detach().to("cpu", torch.float16).contiguous()
        for name, tensor in trained.network.state_dict().items()
    }
    config = {
        "format": FORMAT,
        "kind": trained.kind,
        "shape": asdict(trained.network.shape),
        "context": trained.context,
        "calibration": trained.calibration.to_json(),
        "low": dict(trained.ranges.low),
        "high": dict(trained.ranges.high),
        "refinement": dict(trained.score_weights),
        "facts": dict(trained.facts),
    }
    with atomic_folder(Path(folder), CONFIG) as fresh:
        (fresh / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        save_file(weights, fresh / WEIGHTS, {"format": "pt"})
        if trained.recalibration is not None:
            trained.recalibration.save(fresh / TREES)
        (fresh / CARD).write_text(card, encoding="utf-8")


def network_names() -> tuple[str, ...]:
    """The names of the shipped networks."""
    return tuple(sorted(path.parent.name for path in SHIPPED.glob(f"*/{CONFIG}")))


def network_path(model: str) -> Path:
    """The folder of a network, by the name of a shipped one or by path. Raises `BadInput` for neither."""
    if model in network_names():
        return SHIPPED / model
    path = Path(model)
    if not path.is_dir():
        refuse_pickle(path, "network's weights") if path.is_file() else None
        raise BadInput(f"{model} is neither a folder nor a network of the package: {', '.join(network_names())}")
    return path


def load_network(model: str, *, device: str | torch.device = "cpu") -> TrainedNetwork:
    """A network by name or folder, in single precision and eval mode.

    Raises `BadInput` where the folder, its configuration or its weights cannot be used; nothing is unpickled.
    """
    folder = network_path(model)
    config, calibration = _config(folder / CONFIG)
    with torch.device("meta"):  # no random weights are drawn that would be thrown away
        network = network_of(config["kind"], config["shape"])
    weights, _ = read_weights(folder / WEIGHTS, "network's weights")
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, assign=True)
    except RuntimeError as error:
        why = str(error).splitlines()[-1].strip()
        raise BadInput(f"{folder / WEIGHTS} does not fit its configuration ({why}); take both from one place") from None
    if not all(bool(tensor.isfinite().all()) for tensor in weights.values()):
        raise BadInput(f"{folder / WEIGHTS} holds weights that are not finite; take the folder from where it was made")
    return TrainedNetwork(
        config["kind"],
        network.to(device).eval().requires_grad_(False),
        int(config["context"]),
        calibration,
        FeatureRanges(config["low"], config["high"]),
        config["refinement"],
        config["facts"],
        fingerprint(folder),
        Recalibration.load(folder / TREES) if (folder / TREES).exists() else None,
    )


def fingerprint(folder: Path) -> str:
    """SHA-256 of configuration and weights."""
    digest = hashlib.sha256()
    for name in (CONFIG, WEIGHTS, *([TREES] if (folder / TREES).exists() else [])):
        digest.update(read_bytes(folder / name, LARGEST if name == CONFIG else LARGEST_WEIGHTS))
    return digest.hexdigest()


def _config(path: Path) -> tuple[dict[str, Any], Calibration]:
    """The configuration of a network, checked as far as it is used, and its calibration."""
    config = read_json(path, "give the folder of a trained network")
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise BadInput(f"{path} is no network's configuration of format {FORMAT}; give a folder that this wrote")
    if missing := {"kind", "shape", "context", "calibration", "low", "high", "refinement", "facts"} - config.keys():
        raise BadInput(f"{path} lacks {sorted(missing)[0]!r}; give the folder as it was written")
    numbers = {name: config[name] for name in ("low", "high", "refinement")}
    wrong = [name for name, told in numbers.items() if not _numbers(told)]
    if not _numbers(config["shape"], int):
        wrong.append("shape")
    if not isinstance(config["kind"], str):
        wrong.append("kind")
    if not isinstance(config["context"], int) or config["context"] < 1:
        wrong.append("context")
    try:
        calibration = Calibration.from_json(config["calibration"])
    except (TypeError, ValueError, KeyError, AttributeError):
        wrong.append("calibration")
    if wrong or config["low"].keys() != config["high"].keys():
        raise BadInput(f"{path}: {(wrong or ['high'])[0]!r} is damaged; give the folder as it was written")
    if fault := _beyond_range(config, calibration):
        raise BadInput(f"{path}: {fault}; give the folder as it was written")
    return config, calibration


def _beyond_range(config: Mapping[str, Any], calibration: Calibration) -> str:
    """The first number that no training gives, in words; empty where all are usable."""
    for key, weight in config["refinement"].items():
        if not 0 <= weight <= LARGEST_SCORE_WEIGHT:
            return f"'refinement' has {weight:g} for {key!r}, where 0 to {LARGEST_SCORE_WEIGHT:g} is due"
    for head, scaling in asdict(calibration).items():
        for name, coefficients in scaling.items():
            if far := next((value for value in coefficients if not abs(value) <= LARGEST_COEFFICIENT), None):
                return (
                    f"'calibration' has a {name} of {far:g} for {head!r}, beyond {LARGEST_COEFFICIENT:g} of either sign"
                )
    for name, low in config["low"].items():
        if low > config["high"][name]:
            return f"'low' has {low:g} for {name!r}, which is above 'high', {config['high'][name]:g}"
    return ""


def _numbers(told: Any, kind: type = float) -> bool:
    return isinstance(told, dict) and all(isinstance(value, int | kind) for value in told.values())
