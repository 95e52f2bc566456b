"""Questions of the bench of concepts to a method: planted atoms, labels of pictures, and removal from a score."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from intaglio.explain.concepts.concept_parts import Division, crops_with_most, spread
from intaglio.explain.concepts.family import ConceptFinder
from intaglio.explain.concepts.picture_crops import picture_crops
from intaglio.explain.layer_maps import layer_maps, scores_with_maps
from intaglio.images.image_set import ImageSet
from intaglio.models.scored_network import ScoredNetwork
from intaglio.randomness import numpy_generator

ATOMS, WIDTH, ROWS = 5, 8, 400
"""Planted atoms, channels of each, and rows of features."""
PRESENT, NOISE = 0.4, 0.01
"""Chance of an atom in a row, and standard deviation of the noise beside codes of some 1."""
DRAWS = 50
"""Random parts of a concept."""
SHOWN, FIRST = 20, 5
"""Pictures of a concept that its purity is of, and concepts, the strongest, that are measured."""


def recovery(method: ConceptFinder, seed: int) -> float:
    """Mean cosine of planted atoms with the directions that are matched to them one to one, without their signs.

    Atoms have channels of their own; rows are sums of some, of exponential strengths, with noise, 0 or more.
    """
    source = numpy_generator(seed, 0)
    atoms = np.kron(np.eye(ATOMS), np.ones(WIDTH)) * source.uniform(0.2, 1, (ATOMS, ATOMS * WIDTH))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    codes = source.exponential(1, (ROWS, ATOMS)) * (source.random((ROWS, ATOMS)) < PRESENT)
    features = np.maximum(codes @ atoms + NOISE * source.standard_normal((ROWS, ATOMS * WIDTH)), 0)
    return matched_cosine(method.bank(features), atoms)


def matched_cosine(bank: Float[ndarray, "k c"], atoms: Float[ndarray, "m c"]) -> float:
    """Mean over atoms of the absolute cosine with its own direction, in the best matching; 0 for one left over."""
    overlap = np.abs(bank @ atoms.T)
    return float(overlap[linear_sum_assignment(-overlap)].sum() / len(atoms))


def pooled_crops(
    scored: ScoredNetwork, layer: str, images: ImageSet, batch: int
) -> tuple[Float[ndarray, "m c"], list[int]]:
    """Mean maps of all crops of pictures, and the place of each crop's picture."""
    crops = picture_crops(images.pixels)
    maps = [layer_maps(scored, layer, part).mean((2, 3)) for part in crops.pixels.split(batch)]
    return torch.cat(maps).double().numpy(), [box.picture for box in crops.boxes]


def purity(
    method: ConceptFinder, features: Float[ndarray, "m c"], pictures: Sequence[int], labels: Sequence[str]
) -> float:
    """Excess of one label in the pictures with most of a concept over its share of all, a mean over the first concepts.

    Of the five concepts with the largest sums of codes, each by the twenty pictures whose crops have most of it.
    """
    codes = np.maximum(method.codes(features, method.bank(features)), 0)
    strongest = np.argsort(-codes.sum(0), kind="stable")[:FIRST]
    return float(np.mean([_excess(codes[:, k], pictures, labels) for k in strongest]))


def _excess(codes: Float[ndarray, "m"], pictures: Sequence[int], labels: Sequence[str]) -> float:
    order = dict.fromkeys(pictures[int(k)] for k in np.argsort(-codes, kind="stable"))
    best = [labels[place] for place in list(order)[:SHOWN]]
    base = Counter(labels)
    return max(count / len(best) - base[label] / len(labels) for label, count in Counter(best).items())


def part_purities(
    method: ConceptFinder,
    division: Division,
    features: Float[ndarray, "m c"],
    early: Float[ndarray, "m e"],
    pictures: Sequence[int],
    labels: Sequence[str],
    seed: int,
) -> dict[str, list[float]]:
    """Share of the pictures with most of a concept whose label is the commonest one of their part; the widest first.

    Each picture counts by its crop with most of the concept. `parts` are by the earlier layer's features; `whole` is
    the share without parts, `same_layer` that by parts of the last layer's own features, and `by_chance` that by parts
    of the same sizes at random, a mean over draws.
    """
    codes = np.maximum(method.codes(features, method.bank(features)), 0)
    tops = [crops_with_most(one) for one in codes.T]
    wide = sorted((one for one in tops if len(one) >= division.parts), key=lambda one: -spread(early[one]))
    smaller, source = replace(method, count=division.parts), numpy_generator(seed, 1)
    found: dict[str, list[float]] = {"whole": [], "parts": [], "same_layer": [], "by_chance": []}
    for top in wide:
        shown = [pictures[int(k)] for k in top]
        first = [shown.index(one) for one in dict.fromkeys(shown)]
        told = [labels[shown[k]] for k in first]

        def parts_of(rows: ndarray, first: list[int] = first) -> ndarray:
            return smaller.codes(rows, smaller.bank(rows)).argmax(1)[first]

        parts = parts_of(early[top])
        found["whole"].append(_common(told, np.zeros_like(parts)))
        found["parts"].append(_common(told, parts))
        found["same_layer"].append(_common(told, parts_of(features[top])))
        drawn = [_common(told, source.permutation(parts)) for _ in range(DRAWS)]
        found["by_chance"].append(float(np.mean(drawn)))
    return found


def _common(labels: Sequence[str], parts: Int[ndarray, "p"]) -> float:
    """Share of rows whose label is the commonest one of their part."""
    counted = [Counter(label for label, own in zip(labels, parts, strict=True) if own == part) for part in set(parts)]
    return sum(max(one.values()) for one in counted) / len(labels)


def removal_area(
    scored: ScoredNetwork, layer: str, images: ImageSet, target: int, method: ConceptFinder, bank: Float[Tensor, "k c"]
) -> list[float]:
    """Area under a class's score while concepts are removed in the order of the bank; one a picture.

    The score is 1 with all concepts and 0 without any, so that a smaller area means that the first concepts carry
    more of it. Pictures whose score does not fall are left out.
    """
    rows = bank.double().numpy()
    found = list[float]()
    for pixels in images.pixels:
        maps = layer_maps(scored, layer, pixels[None])[0]
        codes = method.codes(maps.flatten(1).T.double().numpy(), rows)
        kept = np.array([[k >= gone for k in range(len(rows))] for gone in range(len(rows) + 1)], np.float64)
        rebuilt = torch.from_numpy((kept[:, None] * codes) @ rows).float()
        whole = rebuilt.transpose(1, 2).unflatten(2, maps.shape[1:])
        scores = scores_with_maps(scored, layer, pixels, whole, target, method.batch)
        fall = scores[0] - scores[-1]
        if fall > 0:
            found.append(float(np.trapezoid((scores - scores[-1]) / fall, dx=1 / len(rows))))
    return found
