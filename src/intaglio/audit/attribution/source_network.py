"""A network that tells sources apart: what is put into it, its file of tensors, and measures of knownness."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.images.filters import medians
from intaglio.models.classifiers import PictureClassifier, new_classifier
from intaglio.randomness import generator

HEAD = "source"
"""The only head of such a network."""
NETWORK = "network/"
"""Prefix of its tensors among those that were learnt."""
RESIDUAL_GAIN = 16.0
"""Factor that brings residuals of some 8-bit levels to about 1."""
NEIGHBOUR = 5
"""The neighbour whose distance counts."""
Input = Literal["pixels", "residual"]
Knownness = Literal["energy", "max-logit", "mahalanobis", "neighbours"]
INPUTS, KNOWNNESS = get_args(Input), get_args(Knownness)


def network_input(pixels: Float[Tensor, "n 3 h w"], kind: Input) -> Float[Tensor, "n 3 h w"]:
    """The pictures, or the amplified residual of a 3x3 median, as the network's classifier takes pictures."""
    return pixels if kind == "pixels" else 1 - RESIDUAL_GAIN * (pixels - medians(pixels, 3))


def cosine_transform(pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    """The unitary two-dimensional cosine transform (DCT-II) of each channel; it can be differentiated."""
    rows, columns = (_cosines(side) for side in pixels.shape[2:])
    return rows @ pixels @ columns.T


def _cosines(side: int) -> Float[Tensor, "s s"]:
    place = torch.arange(side, dtype=torch.float64)
    basis = torch.cos(torch.pi / side * (place + 0.5) * place[:, None]) * (2 / side) ** 0.5
    basis[0] /= 2**0.5
    return basis.float()


def new_network(sources: Sequence[str], widths: Sequence[int], seed: int) -> PictureClassifier:
    """An untrained classifier of sources; stages have one block, the second has two."""
    repeats = [2 if place == 1 else 1 for place in range(len(widths))]
    return new_classifier({HEAD: [str(k) for k in range(len(sources))]}, seed, widths, repeats)


def network_tensors(network: PictureClassifier) -> dict[str, Tensor]:
    """All numbers of a trained network, by name."""
    return {f"{NETWORK}{name}": tensor for name, tensor in network.state_dict().items()}


def network_of(learnt: Mapping[str, Tensor], widths: Sequence[int]) -> PictureClassifier:
    """The network again, in evaluation mode. Raises `RuntimeError` for tensors that are not those of such a network."""
    state = {name.removeprefix(NETWORK): one for name, one in learnt.items() if name.startswith(NETWORK)}
    sources = len(state[f"heads.{HEAD}.bias"])
    with torch.device("meta"):
        repeats = [2 if place == 1 else 1 for place in range(len(widths))]
        network = PictureClassifier({HEAD: [str(k) for k in range(sources)]}, widths, repeats)
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


def batch_of(order: Sequence[int], rows: int, step: int, seed: int) -> list[int]:
    """Places of the pictures of update `step`, each once an epoch.

    Args:
        order: all places in an order by contents, which the seed and the epoch shuffle.
        rows: pictures an update; what is left at the end of an epoch may be fewer.
        step: from 0.
        seed: of the training.
    """
    epoch, place = divmod(step, epoch_steps(len(order), rows))
    drawn = torch.randperm(len(order), generator=generator(seed, "order", epoch)).tolist()
    return [order[i] for i in drawn[place * rows : (place + 1) * rows]]


def epoch_steps(pictures: int, rows: int) -> int:
    """Updates of one epoch; one picture that is left over is left out, as batch normalisation needs two."""
    whole, rest = divmod(pictures, rows)
    return max(1, whole + (rest >= 2))


def blank_update(widths: Sequence[int], sources: int, rows: int, side: int) -> Callable[[], object]:
    """A pass of blank pictures through a new network, and back; its gradients are dropped."""
    network = new_network([str(k) for k in range(sources)], widths, 0).train()
    blank = torch.zeros(rows, 3, side, side)

    def update() -> None:
        network.logits(blank, HEAD).sum().backward()
        network.zero_grad(set_to_none=True)

    return update


def source_weights(labels: Int[Tensor, "n"], sources: int) -> Float[Tensor, "K"]:
    """Weights of the sources in a loss by which each counts alike, whatever its number of pictures."""
    counts = torch.bincount(labels, minlength=sources)
    return len(labels) / (sources * counts)


@torch.no_grad()
def renormalised(network: PictureClassifier, inputs: Sequence[Tensor]) -> PictureClassifier:
    """The network with statistics of batch normalisation that are the mean over these parts; in evaluation mode."""
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a mean over all parts alike
    network.train()
    for some in inputs:
        network.features(some)
    return network.eval()


@torch.no_grad()
def feature_statistics(
    network: PictureClassifier, inputs: Sequence[Tensor], labels: Int[Tensor, "n"], kind: Knownness
) -> dict[str, Tensor]:
    """Tensors that a measure of knownness needs of the pictures that taught, whose inputs come in parts."""
    if kind not in ("mahalanobis", "neighbours"):
        return {}
    features = torch.cat([network.features(some) for some in inputs])
    if kind == "neighbours":
        return {"features": torch.nn.functional.normalize(features, dim=1)}
    from sklearn.covariance import LedoitWolf

    rows = features.double()
    centres = torch.stack([rows[labels == k].mean(0) for k in range(int(labels.max()) + 1)])
    shared = LedoitWolf(assume_centered=True).fit((rows - centres[labels]).numpy())
    spread = torch.from_numpy(shared.covariance_)
    floor = 1e-6 * spread.diagonal().mean().clamp_min(1e-12)
    return {"centres": centres, "precision": torch.linalg.inv(spread + floor * torch.eye(len(spread)).double())}


def knownness_of(
    logits: Float[Tensor, "n K"], features: Float[Tensor, "n f"], learnt: Mapping[str, Tensor], kind: Knownness
) -> Float[Tensor, "n"]:
    """Log of the summed exponentials of the logits, their largest, minus the squared Mahalanobis distance to the
    nearest source, or minus the distance of directions to the fifth neighbour among the pictures that taught.
    """
    match kind:
        case "energy":
            return torch.logsumexp(logits, 1)
        case "max-logit":
            return logits.amax(1)
        case "mahalanobis":
            apart = features.double()[:, None] - learnt["centres"]
            return -torch.einsum("nkf,fg,nkg->nk", apart, learnt["precision"], apart).amin(1)
    known = learnt["features"]
    gaps = (torch.nn.functional.normalize(features, dim=1)[:, None] - known).norm(dim=2)
    return -gaps.kthvalue(min(NEIGHBOUR, len(known)), 1).values
