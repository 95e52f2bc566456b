"""prototype-head: names by distance to a few pictures of each label."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from sklearn.cluster import KMeans
from torch import Tensor

from intaglio.errors import require
from intaglio.explain.heads.family import Kind, ReadableHead
from intaglio.explain.heads.fitted_head import MOST_GROUPS, FittedHead, HeadExplanation, Places
from intaglio.explain.probe_scores import Codes

RATE, SHARPER = 0.03, 0.1
"""Of Adam, for prototypes, divided by the square root of d as features are, and for the logarithm of a."""
STILL = 1e-3
"""Size of a gradient below which Adam hardly moves, so that prototypes stay where all is named right."""
SMALLEST = 1e-9


@dataclass(frozen=True, kw_only=True)
class PrototypeHead(ReadableHead):
    """Names by the softmax of minus squared distances to pictures that stand for each label.

    Features x [d] are scaled to mean 0 and deviation 1, and distances divided by d: each of J prototypes p_j, which
    belongs to a class, has the weight softmax_j(-a |x - p_j|^2 / d), and a class the sum of those of its own.
    Prototypes begin at k-means centres of each class; a, then both are trained by cross-entropy with classes of equal
    weight; then each becomes the nearest picture of its class, no two the same, and a is trained again. A person reads
    the J distances. The prototype family of self-interpretable networks, on frozen features.
    """

    kind: ClassVar[Kind] = "prototype"
    reading: ClassVar[str] = "the distance to each prototype"

    each: int = 3
    """Prototypes of a label, 1 to 50; at most as many as it has pictures."""
    steps: int = 200
    """Steps of Adam, from 1; half as many come before prototypes move, and again once they are pictures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.each <= 50, f"each must be 1 to 50, not {self.each}")
        require(self.steps >= 1, f"steps must be at least 1, not {self.steps}")

    def fitted(self, places: Places, truth: Codes, groups: Codes, classes: int) -> FittedHead:
        """See the family."""
        rows = places.mean(1)
        centre, scale = rows.mean(0), np.maximum(rows.std(0), SMALLEST) * np.sqrt(rows.shape[1])
        scaled = (rows - centre) / scale
        starts, owners = list[ndarray](), list[int]()
        for code in np.unique(truth).tolist():
            mine = np.unique(scaled[truth == code], axis=0)
            found = (
                KMeans(min(self.each, len(mine)), n_init=cast(Any, 4), random_state=self.seed)
                .fit(mine)
                .cluster_centers_
            )
            starts.append(found)
            owners += [code] * len(found)
        owner, known = np.array(owners), torch.from_numpy(truth)
        given = torch.from_numpy(scaled)
        half, first = (self.steps + 1) // 2, torch.from_numpy(np.concatenate(starts))
        _, sharpness = _trained(given, known, first, owner, 1.0, half, moved=False)
        trained, sharpness = _trained(given, known, first, owner, sharpness, self.steps)
        kept = nearest_own(trained.numpy(), owner, scaled, truth)
        snapped = given[torch.from_numpy(kept)]
        _, sharpness = _trained(given, known, snapped, owner, sharpness, half, moved=False)
        return _Prototypes(centre, scale, snapped.numpy(), owner, kept, sharpness)


def nearest_own(
    prototypes: Float[ndarray, "j d"], owner: Int[ndarray, "j"], rows: Float[ndarray, "m d"], truth: Codes
) -> Int[ndarray, "j"]:
    """The place of the nearest picture of each prototype's class, no picture twice, the nearest pair first."""
    distances = ((prototypes[:, None] - rows[None]) ** 2).sum(2)
    distances[owner[:, None] != truth[None]] = np.inf
    found = np.zeros(len(prototypes), np.int64)
    for _ in prototypes:
        j, k = np.unravel_index(int(np.argmin(distances)), distances.shape)
        found[j] = k
        distances[j], distances[:, k] = np.inf, np.inf
    return found


def _trained(
    rows: Float[Tensor, "m d"],
    truth: Int[Tensor, "m"],
    prototypes: Float[Tensor, "j d"],
    owner: Int[ndarray, "j"],
    sharpness: float,
    steps: int,
    *,
    moved: bool = True,
) -> tuple[Float[Tensor, "j d"], float]:
    """Prototypes and their sharpness after full-batch Adam; where not `moved`, the sharpness alone is trained."""
    places = prototypes.clone().requires_grad_(moved)
    log = torch.tensor(float(np.log(sharpness)), dtype=rows.dtype, requires_grad=True)
    weights = (1 / torch.bincount(truth).clamp(min=1).double())[truth]
    own = torch.from_numpy(owner)[None] == truth[:, None]
    parts = [{"params": [log], "lr": SHARPER}]
    if moved:
        parts.append({"params": [places], "lr": RATE / rows.shape[1] ** 0.5})
    optimizer = torch.optim.Adam(parts, eps=STILL)
    with torch.enable_grad():
        for _ in range(steps):
            shares = (-log.exp() * torch.cdist(rows, places).square()).log_softmax(1)
            loss = -(weights * shares.masked_fill(~own, -torch.inf).logsumexp(1)).sum() / weights.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return places.detach(), float(log.detach().exp())


@dataclass(frozen=True, eq=False)
class _Prototypes(FittedHead):
    centre: Float[ndarray, "d"]
    scale: Float[ndarray, "d"]
    prototypes: Float[ndarray, "j d"]
    owner: Int[ndarray, "j"]
    kept: Int[ndarray, "j"]
    """Places of the pictures that they are, among those that the head was fitted to."""
    sharpness: float

    def shares(self, places: Places) -> Float[ndarray, "m j"]:
        """Weight of each prototype for each picture; they add up to 1."""
        rows = (places.mean(1) - self.centre) / self.scale
        distances = ((rows[:, None] - self.prototypes[None]) ** 2).sum(2)
        shares = np.exp(-self.sharpness * (distances - distances.min(1, keepdims=True)))
        return shares / shares.sum(1, keepdims=True)

    def predict(self, places: Places) -> Codes:
        """See the contract."""
        own = self.owner[:, None] == np.arange(self.owner.max() + 1)[None]
        return (self.shares(places) @ own).argmax(1)

    def sizes(self, places: Places) -> Float[ndarray, "m"]:
        """See the contract: a distance to each prototype."""
        return np.full(len(places), float(len(self.prototypes)))

    def explained(self, places: Places, names: Sequence[str], truth: Codes, classes: Sequence[str]) -> HeadExplanation:
        """See the contract: the prototypes of each class; the pictures are those that the head was fitted to."""
        nearest = self.shares(places).argmax(1)
        table, pictures = list[tuple[str, ...]](), list[tuple[str, tuple[str, ...]]]()
        for code, name in enumerate(classes):
            mine = np.flatnonzero(self.owner == code).tolist()
            for j in mine:
                near = truth[nearest == j]
                right = f"{(near == code).mean():.2f}" if len(near) else "-"
                table.append((name, names[int(self.kept[j])], str(len(near)), right))
            pictures.append((name, tuple(names[int(self.kept[j])] for j in mine)))
        text = "Prototypes, the pictures that are nearest to each, and the share of these that has its label."
        heads = ("label", "prototype", "nearest", "right")
        return HeadExplanation(text, heads, tuple(table), tuple(pictures[:MOST_GROUPS]))
