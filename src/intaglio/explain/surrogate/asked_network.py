"""A classifier as a black box: numbers of a layer as features, and its own probabilities."""

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from intaglio.explain.picture_features import LayerFeatures
from intaglio.explain.surrogate.black_box_rows import Ask, BlackBoxRows, numbered
from intaglio.images.image_set import ImageSet
from intaglio.models.scored_network import ScoredNetwork

AT_ONCE = 64
"""Pictures that go through the network together."""
SAME = 1e-4
"""By which answers of the head to features may differ from those to pictures."""


@torch.no_grad()
def network_rows(scored: ScoredNetwork, images: ImageSet, layer: str = "") -> BlackBoxRows:
    """Rows of pictures, with a network's features and probabilities.

    Args:
        scored: the network and its head.
        images: n pictures.
        layer: module whose maps are averaged over places; empty takes what the head takes, and where the head is linear
            in it, the head can be asked about other features.

    Raises `BadInput` for a layer that there is not, and `IntaglioError` for numbers that are not finite.
    """
    source = LayerFeatures(scored, layer)
    batches = [images[start : start + AT_ONCE] for start in range(0, len(images), AT_ONCE)]
    features = torch.cat([source.of(one) for one in batches])
    answers = torch.cat([scored.logits(one.pixels).softmax(1).double().cpu() for one in batches])
    word = f"{layer} channel" if layer else "head channel"
    return BlackBoxRows(
        names=tuple(images.names),
        columns=tuple(numbered(features.shape[1], word)),
        features=features.float().numpy(),
        classes=tuple(scored.classes),
        probabilities=answers.numpy(),
        ask=None if layer else _head(scored, features, answers),
    )


def _head(scored: ScoredNetwork, features: Float[Tensor, "n d"], answers: Float[Tensor, "n k"]) -> Ask | None:
    """The head as a function of features; None where it does not give the network's answers."""
    head = scored.head_layer
    if not isinstance(head, nn.Linear) or head.in_features != features.shape[1]:
        return None
    weight = head.weight.detach().double().cpu()
    bias = 0 if head.bias is None else head.bias.detach().double().cpu()

    def ask(rows: Float[ndarray, "m d"]) -> Float[ndarray, "m k"]:
        return (torch.from_numpy(rows).double() @ weight.T + bias).softmax(1).numpy()

    found = torch.from_numpy(ask(features.float().numpy()))
    return ask if found.shape == answers.shape and bool((found - answers).abs().max() < SAME) else None
