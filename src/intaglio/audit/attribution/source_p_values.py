"""Conformal p-values of sources: how unusual a picture would be among the held-out pictures of each.

For source k with m_k held-out pictures, and a number s that is high for pictures of k,

    p_k(x; s) = (1 + #{held out of k with s at most s(x)}) / (m_k + 1).

A new picture of k, which is exchangeable with its held-out ones, has p_k <= a with a chance of at most a, whatever the
number (split conformal prediction; Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World, 2005). Two numbers
are asked, the log posterior of k and the knownness, and p_k = min(1, 2 min of the two), which keeps that chance.

The sources with p_k > a are those that fit. A picture is attributed where only one fits. So of the pictures of each
source at most a share a is attributed to another source, since for that their own must not fit. Nothing is promised of
pictures of a source that was not given: they may fit one by chance, or be made alike.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from intaglio.metrics.statistics.conformal import called, p_values

PValues = Float[Tensor, "n K"]
"""p of each picture for each source."""


class HeldOut(NamedTuple):
    """The numbers of m held-out pictures of K sources."""

    posterior: Float[Tensor, "m K"]
    """Log posterior of each source."""
    knownness: Float[Tensor, "m"]
    labels: Int[Tensor, "m"]
    """The source of each picture."""


def p_of_scores(scores: Float[Tensor, "n K"], held: Float[Tensor, "m K"], labels: Int[Tensor, "m"]) -> PValues:
    """p_k by one number: column k of the scores against that of the held-out pictures of source k; float64."""
    columns = [p_values(-scores[:, k].double().numpy(), -held[labels == k, k].double().numpy()) for k in _range(held)]
    return torch.from_numpy(np.stack(columns, 1))


def source_p_values(posterior: Float[Tensor, "n K"], knownness: Float[Tensor, "n"], held: HeldOut) -> PValues:
    """p_k of each picture by both numbers, in (0, 1], float64.

    Args:
        posterior: log posterior of each source.
        knownness: of each picture.
        held: the same of the held-out pictures.
    """
    first = p_of_scores(posterior, held.posterior, held.labels)
    return _of_both(first, p_of_scores(_each(knownness, held), _each(held.knownness, held), held.labels))


def held_out_p_values(held: HeldOut) -> PValues:
    """p_k of each held-out picture as if it were new: it is left out of its own source's."""
    return _of_both(
        _without_itself(held.posterior, held.labels), _without_itself(_each(held.knownness, held), held.labels)
    )


def _of_both(first: Tensor, second: Tensor) -> Tensor:
    return (2 * torch.minimum(first, second)).clamp_max(1)


def _each(knownness: Tensor, held: HeldOut) -> Tensor:
    """The knownness in a column for each source."""
    return knownness[:, None].expand(-1, held.posterior.shape[1])


def _range(held: Tensor) -> range:
    return range(held.shape[1])


def _without_itself(held: Tensor, labels: Tensor) -> Tensor:
    found = p_of_scores(held, held, labels)
    for k in _range(held):
        own = labels == k
        # Among m pictures that count itself p is (1 + r) / (m + 1), and among the others (1 + r - 1) / (m - 1 + 1).
        found[own, k] = ((found[own, k] * (int(own.sum()) + 1)).round() - 1) / int(own.sum())
    return found


def fits(p: PValues, rate: float) -> Bool[Tensor, "n K"]:
    """The sources that fit at an asked rate: those with p above it."""
    return torch.from_numpy(~called(p.numpy(), rate).reshape(p.shape))


def only_fit(fitting: Bool[Tensor, "n K"]) -> Int[Tensor, "n"]:
    """The source that a picture is attributed to: the only one that fits; -1 for none, -2 for several."""
    counts = fitting.sum(1)
    found = fitting.int().argmax(1)
    return torch.where(counts == 1, found, torch.where(counts == 0, NONE_FITS, SEVERAL_FIT))


NONE_FITS, SEVERAL_FIT = -1, -2
"""In place of a source: pictures that no source fits, and that several fit."""


def shares_of_sources(verdicts: Sequence[int], labels: Sequence[int], sources: int) -> list[dict[str, int]]:
    """Of the held-out pictures of each source, how many are attributed to it, to another, to none, to several."""
    found = []
    for k in range(sources):
        own = [verdict for verdict, label in zip(verdicts, labels, strict=True) if label == k]
        found.append(
            {
                "pictures": len(own),
                "own": own.count(k),
                "other": sum(verdict >= 0 and verdict != k for verdict in own),
                "none": own.count(NONE_FITS),
                "several": own.count(SEVERAL_FIT),
            }
        )
    return found
