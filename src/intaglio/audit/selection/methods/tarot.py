"""tarot: the candidates whose whitened gradients come closest, as a distribution, to those of the targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.selection.family import ChosenCandidates
from intaglio.audit.selection.gradient_selection import GradientSelector
from intaglio.audit.selection.sinkhorn import transport
from intaglio.errors import BadInput, require
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

RIDGE, SHRINKAGE = 1e-5, 0.1
"""Parts of the covariance's mean variance that are added to it: with more pictures than numbers, and with fewer."""


@dataclass(frozen=True, kw_only=True)
class Tarot(GradientSelector):
    """TAROT: candidates chosen by optimal transport between whitened gradients and those of targets.

    The loss gradients g, sketched to k numbers, are centred over candidates and targets together, whitened by
    W = L^-T with L L^T their covariance, and normalised: so no direction in which all gradients vary counts for more
    than another. With cosines s(c, t) of these, a distance is d = sqrt(2 - 2 s), and distributions are compared by the
    transport cost OT of d.

    Without `size` the targets are cut into `folds`. For each fold, S_r is the union over its targets of the r
    candidates of highest cosine above 0; r grows from 1 until OT(S_r, targets of the other folds) first rises, and the
    last S_r before that is taken. All folds' are joined. With `size`, the candidates that are the best of some target
    come first, then those that are second best, and so on; where a rank would give too many, those are taken to which
    most of the targets fall. A weight is the share of the targets that fall to a chosen candidate, each target's mass
    going to the nearest: in parts proportional to exp(-d / blur).

    Source: Feng et al., arXiv 2412.00420. Weights there are dual potentials, which are free up to a constant.
    """

    reading: ClassVar[str] = "the mean cosine of its whitened gradient with those of the targets"

    size: int | None = None
    """Candidates to choose, from 1; none finds how many."""
    folds: int = 5
    """Parts of the targets, from 2, where no size is given; at most as many as there are targets."""
    blur: float = 0.01
    """Entropy of the transport, in units of distance, above 0: distances shorter than this count for little."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.size is None or self.size >= 1, f"size must be at least 1, or none, not {self.size}")
        require(self.folds >= 2, f"folds must be at least 2, not {self.folds}")
        require(0 < self.blur < float("inf"), f"blur must be above 0, and finite, not {self.blur}")

    def check(self, model: LatentDiffusion) -> None:
        """Raises `BadInput` for weights that are not there, and for gradients that are kept whole."""
        super().check(model)
        if not self.width:
            raise BadInput("whitening takes a table of width times width numbers; give a --width, such as 2048")

    def among(
        self, candidates: Float[Tensor, "n k"], target: Float[Tensor, "m k"], order: Sequence[int]
    ) -> ChosenCandidates:
        """Cosines of whitened gradients, and the choice by them."""
        pool, aims = whitened(candidates, target)
        cosines = pool @ aims.T
        distances = (2 - 2 * cosines).clamp(min=0).sqrt()
        if self.size is None:
            places, curve = self._free(cosines, distances, order)
        else:
            places, curve = _by_rank(cosines, distances, self.size, self.blur), []
        if not places:
            return ChosenCandidates(cosines.mean(1), [], [], curve)
        return ChosenCandidates(cosines.mean(1), places, _fallen(distances[places], self.blur), curve)

    def _free(
        self, cosines: Float[Tensor, "n m"], distances: Float[Tensor, "n m"], order: Sequence[int]
    ) -> tuple[list[int], list[tuple[int, float]]]:
        """The union of the folds' choices, and the first fold's course."""
        if len(order) < 2:
            raise BadInput(
                "one target is too few to tell how many candidates to choose; give a --size, or more targets"
            )
        folds = min(self.folds, len(order))
        taken: set[int] = set()
        curve: list[tuple[int, float]] = []
        for fold in range(folds):
            own = [place for k, place in enumerate(order) if k % folds == fold]
            others = [place for k, place in enumerate(order) if k % folds != fold]
            some, course = grown(cosines[:, own], distances[:, others], self.blur)
            taken |= some
            curve = curve or course
        return sorted(taken), curve


def whitened(
    candidates: Float[Tensor, "n k"], target: Float[Tensor, "m k"]
) -> tuple[Float[Tensor, "n k"], Float[Tensor, "m k"]]:
    """Gradients centred together, with a covariance of one, as unit rows."""
    both = torch.cat([candidates, target])
    both = both - both.mean(0)
    covariance = both.T @ both / len(both)
    share = RIDGE if len(both) > both.shape[1] else SHRINKAGE
    added = share * float(covariance.diagonal().mean()) or 1.0
    lower = torch.linalg.cholesky(covariance + added * torch.eye(len(covariance), dtype=both.dtype))
    rows = torch.linalg.solve_triangular(lower, both.T, upper=False).T
    rows = torch.nn.functional.normalize(rows, dim=1)
    return rows[: len(candidates)], rows[len(candidates) :]


def grown(
    cosines: Float[Tensor, "n own"], distances: Float[Tensor, "n others"], blur: float
) -> tuple[set[int], list[tuple[int, float]]]:
    """The union of every own target's best candidates, more of them until the distance from the others first rises."""
    ranks = cosines.argsort(dim=0, descending=True, stable=True)
    taken: set[int] = set()
    course: list[tuple[int, float]] = []
    for row in ranks.tolist():
        more = taken | {place for target, place in enumerate(row) if cosines[place, target] > 0}
        if more == taken:
            continue
        distance, _ = transport(distances[sorted(more)], blur)
        course.append((len(more), distance))
        if taken and distance > course[-2][1]:
            break
        taken = more
    return taken, course


def _by_rank(cosines: Float[Tensor, "n m"], distances: Float[Tensor, "n m"], size: int, blur: float) -> list[int]:
    """`size` candidates: the best of every target, then the second best, the last of them by the mass they carry."""
    taken: list[int] = []
    for row in cosines.argsort(dim=0, descending=True, stable=True).tolist():
        fresh = sorted(set(row) - set(taken))
        left = size - len(taken)
        if len(fresh) > left:
            mass = _fallen(distances[fresh], blur)
            return [*taken, *(fresh[k] for k in sorted(range(len(fresh)), key=lambda k: (-mass[k], k))[:left])]
        taken += fresh
        if len(taken) == size:
            break
    return taken


def _fallen(distances: Float[Tensor, "some m"], blur: float) -> list[float]:
    """The share of the targets that fall to each candidate: only their side of the transport is bound."""
    return torch.softmax(-distances / blur, dim=0).mean(1).tolist()
