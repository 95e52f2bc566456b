"""Insertion by masks on held-out pictures, beside Grad-CAM of the plain classifier, which judges both."""

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from intaglio.explain.class_heat import class_heat
from intaglio.explain.faithfulness import faithfulness
from intaglio.explain.selectors.family import TaughtSelector
from intaglio.explain.selectors.labelled_lessons import HEAD
from intaglio.images.image_set import ImageSet
from intaglio.models.scored_network import classifier_score


def insertions(found: TaughtSelector, images: ImageSet, most: int, seed: int) -> dict[str, Float[ndarray, "k"]]:
    """Areas under the probability of each picture's own label while it is revealed in three orders.

    Args:
        found: masks, and the plain classifier that is asked.
        images: those among which the held-out ones are.
        most: held-out pictures that are asked about, those of all labels by turns.
        seed: of the orders that are drawn.

    Returns the areas by the mask, by Grad-CAM, and in a random order.
    """
    result, place = found.result, {name: k for k, name in enumerate(images.names)}
    chosen = result.shown(most)
    pixels = images.pixels[[place[result.names[k]] for k in chosen]]
    scored = classifier_score(found.plain, HEAD, side=pixels.shape[-1])
    heat = class_heat(scored, scored.layers[-1], pixels, torch.from_numpy(result.truth[chosen]))
    masks = torch.from_numpy(result.masks[chosen]).float() / 255
    blank = torch.tensor(result.fill).view(3, 1, 1).expand(pixels.shape[1:])

    def areas(maps: Float[Tensor, "k h w"]) -> list[tuple[float, float]]:
        told = [
            faithfulness(scored, one, blank, int(result.truth[k]), at, (seed, result.names[k]))
            for one, k, at in zip(pixels, chosen, maps, strict=True)
        ]
        return [(one.insertion, one.chance) for one in told]

    mine, other = torch.tensor(areas(masks)).double().numpy(), torch.tensor(areas(heat)).double().numpy()
    return {"mask": mine[:, 0], "grad_cam": other[:, 0], "random": mine[:, 1]}
