"""Differentiable search for linear ADMGs: many restarts at once, each along a path of growing weights of the class."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from math import log

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from intaglio.causal.confounding.gram_loss import error_precision, least_squares_gradients, residual_gram
from intaglio.causal.confounding.masked_adam import MaskedAdam
from intaglio.causal.confounding.penalties import violation, violation_gradients
from intaglio.causal.graphs.admg import ADMGClass
from intaglio.randomness import generator

ARROW_RANGE, DOUBLE_RANGE = 0.5, 0.05
"""Largest size of the first coefficients and error covariances, drawn uniformly."""
BOX = 4.0
"""Largest size of a coefficient or error covariance."""
GROWTH = 10**0.5
"""Growth of the weight of the violation from stage to stage."""
SETTLED = 3
"""Stages in a row with the same graph, of the class, after which a restart ends."""
TOLERANCE = 1e-8
"""Violation below which a restart ends."""
RATES = (0.02, 0.002)
"""Learning rates of the first and of the last step of a round, with a geometric decay between them."""
STEPS_BETWEEN_LOOKS, STILL = 20, 1e-6
"""Steps between two looks at the objective, and its relative change below which a round ends."""

UpdateMask = Callable[[int, int, int], Bool[Tensor, "d d"]]
"""Pairs that a step may change: a symmetric matrix for (restart, round of the restart, step of the round)."""


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """The parameters that a search may use; without background knowledge all of them."""

    arrows: Bool[Tensor, "d d"]
    """[i, j]: i → j may be; False on the diagonal."""
    doubles: Bool[Tensor, "d d"]
    """[i, j]: i ↔ j may be; symmetric, False on the diagonal."""
    certain: Bool[Tensor, "d d"]
    """[i, j]: i → j is there, and bears no penalty for sparsity."""


@dataclass
class Restarts:
    """The states of r restarts, from which a search goes on; row k of each tensor is restart k."""

    arrows: Float64[Tensor, "r d d"]
    """B; [i, j] is the coefficient of i → j."""
    doubles: Float64[Tensor, "r d d"]
    """W, symmetric with a zero diagonal: the covariances of the errors."""
    variances: Float64[Tensor, "r d"]
    """Variances ω of the errors."""
    rounds: Int64[Tensor, "r"]
    """Rounds done."""
    same: Int64[Tensor, "r"]
    """Stages in a row that ended with the graph in `edges`, of the class."""
    edges: Bool[Tensor, "r 2 d d"]
    """Parameters above the threshold at the end of the last stage."""
    violated: Float64[Tensor, "r"]
    """h at the end of the last stage."""
    ended: Bool[Tensor, "r"]

    def tensors(self) -> dict[str, Tensor]:
        """All of the state by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, kw_only=True)
class MixedGraphLearner:
    """Minimises least squares + λ Σ tanh(½ log(n) |θ|) + α h over B and W for several restarts at once.

    A round makes pseudo-variables of the current point and takes `steps` of proximal Adam from it, with their
    coefficients held; a stage is some rounds at one α, which grows by √10 from stage to stage. A restart ends where its
    parameters above `threshold` are a graph of the class and the same after three stages, where h ≤ 1e-8, or after the
    last stage.

    An update mask enters here and nowhere else: a matrix of pairs for each restart and step, under which B_ij, B_ji and
    W_ij move together or not at all. Without one every pair moves in every step.
    """

    covariance: Float64[Tensor, "d d"]
    """S; of standardised columns it is their correlation."""
    scales: Float64[Tensor, "d"]
    """Standard deviations of the columns in S, in which B_ij σ_i / σ_j and W_ij / (σ_i σ_j) meet the threshold."""
    rows: int
    """Number of rows n, for the scale of the sparsity."""
    kind: ADMGClass
    space: SearchSpace
    sparsity: float | Float64[Tensor, "d d"]
    """λ, one number or one for each pair, a symmetric matrix [d, d]; each double arrow counts once."""
    threshold: float
    """Size of a standardised parameter above which it counts as an edge."""
    stages: int
    rounds_each: int
    """Rounds of a stage."""
    steps: int
    """Steps of a round."""
    mask: UpdateMask | None = None
    first_weight: float = 1.0
    """α of the first stage, above 0."""

    def begin(self, restarts: int, seed: int, initial: Float64[Tensor, "d d"] | None = None) -> Restarts:
        """The first states: B and W uniform at random, times `initial` [d, d] where it is given, and ω the variances.

        Restart k draws from a generator of its own, so it is the same however many there are.
        """
        d, device = len(self.covariance), self.covariance.device
        draws = [
            torch.rand(2, d, d, generator=generator(seed, "restart", k), dtype=torch.float64) for k in range(restarts)
        ]
        drawn = (2 * torch.stack(draws).to(device) - 1) * (1.0 if initial is None else initial)
        lower = DOUBLE_RANGE * drawn[:, 1].tril(-1) * self.space.doubles
        counts = torch.zeros(restarts, dtype=torch.int64, device=device)
        return Restarts(
            arrows=ARROW_RANGE * drawn[:, 0] * self.space.arrows,
            doubles=lower + lower.mT,
            variances=self.covariance.diagonal().repeat(restarts, 1),
            rounds=counts,
            same=counts.clone(),
            edges=torch.zeros(restarts, 2, d, d, dtype=torch.bool, device=device),
            violated=torch.full((restarts,), float("inf"), dtype=torch.float64, device=device),
            ended=counts > 0,
        )

    def search(self, state: Restarts) -> Iterator[None]:
        """Does one round of every restart that has not ended, in place, and yields, until all have ended."""
        while not state.ended.all():
            running = torch.nonzero(~state.ended).flatten()
            self._round(state, running)
            state.rounds[running] += 1
            self._look(state, running[state.rounds[running] % self.rounds_each == 0])
            yield

    def _round(self, state: Restarts, running: Int64[Tensor, "k"]) -> None:
        """Minimises the objective with the pseudo-variables of the current points, in place."""
        before, doubles = state.arrows[running], state.doubles[running]
        precision = error_precision(doubles, state.variances[running])
        weight = self.weight(state.rounds[running])
        point = torch.stack([before, doubles.tril(-1)], 1)
        free = torch.stack([self.space.arrows, self.space.doubles.tril(-1)])
        optimiser, last = MaskedAdam(point), None
        for step in range(self.steps):
            value, gradient = self._smooth(point, before, precision, weight)
            rate = RATES[0] * (RATES[1] / RATES[0]) ** (step / max(1, self.steps - 1))
            mask = (free & self._pairs(state, running, step).unsqueeze(1)).expand_as(point)
            point = optimiser.step(point, gradient, self._shrinkage(point), rate, mask).clamp(-BOX, BOX)
            if step % STEPS_BETWEEN_LOOKS == 0:
                if last is not None and ((value - last).abs() <= STILL * last.abs()).all():
                    break
                last = value
        state.arrows[running], state.doubles[running] = point[:, 0], point[:, 1] + point[:, 1].mT
        state.variances[running] = residual_gram(self.covariance, point[:, 0]).diagonal(dim1=-2, dim2=-1)

    def weight(self, rounds: Int64[Tensor, "k"]) -> Float64[Tensor, "k"]:
        """α of restarts that have done so many rounds."""
        return self.first_weight * GROWTH ** (rounds // self.rounds_each).double()

    def _pairs(self, state: Restarts, running: Int64[Tensor, "k"], step: int) -> Bool[Tensor, "k d d"]:
        """The pairs that this step may change, a matrix for each restart."""
        if self.mask is None:
            return self.space.arrows.new_ones(len(running), *self.space.arrows.shape)
        chosen = [self.mask(k, int(state.rounds[k]), step) for k in running.tolist()]
        return torch.stack(chosen).to(self.covariance.device)

    def _smooth(
        self,
        point: Float64[Tensor, "k 2 d d"],
        before: Float64[Tensor, "k d d"],
        precision: Float64[Tensor, "k d d"],
        weight: Float64[Tensor, "k"],
    ) -> tuple[Float64[Tensor, "k"], Float64[Tensor, "k 2 d d"]]:
        """Least squares + α h, and its gradient with respect to B and the lower triangle of W."""
        arrows, doubles = point[:, 0], point[:, 1] + point[:, 1].mT
        fit, *by_fit = least_squares_gradients(self.covariance, arrows, doubles, before, precision)
        h, *by_h = violation_gradients(arrows, doubles, self.kind)
        pull = weight[:, None, None]
        along_arrows, along_doubles = (fitted + pull * kept for fitted, kept in zip(by_fit, by_h, strict=True))
        return fit + weight * h, torch.stack([along_arrows, along_doubles + along_doubles.mT], 1)

    def _shrinkage(self, point: Float64[Tensor, "k 2 d d"]) -> Float64[Tensor, "k 2 d d"]:
        """Slopes of λ tanh(½ log(n) |θ|) at the point, which bound its growth: it is concave; 0 for certain arrows."""
        slope = 0.5 * log(self.rows)
        found = self.sparsity * slope * (1 - torch.tanh(slope * point).square())
        found[:, 0].masked_fill_(self.space.certain, 0.0)
        return found

    def _look(self, state: Restarts, looked: Int64[Tensor, "k"]) -> None:
        """Ends the restarts that have settled in a graph of the class, or are through with their stages."""
        arrows, doubles = state.arrows[looked], state.doubles[looked]
        edges = torch.stack(self.standardised(arrows, doubles), 1).abs() > self.threshold
        of_class = violation(edges[:, 0].double(), edges[:, 1].double(), self.kind) == 0
        same = (edges == state.edges[looked]).flatten(1).all(1)
        state.same[looked] = torch.where(of_class, torch.where(same, state.same[looked], 0) + 1, 0)
        state.edges[looked] = edges
        state.violated[looked] = violation(arrows, doubles, self.kind)
        through = state.rounds[looked] >= self.stages * self.rounds_each
        state.ended[looked] = through | (state.same[looked] >= SETTLED) | (state.violated[looked] <= TOLERANCE)

    def standardised(
        self, arrows: Float64[Tensor, "*r d d"], doubles: Float64[Tensor, "*r d d"]
    ) -> tuple[Float64[Tensor, "*r d d"], Float64[Tensor, "*r d d"]]:
        """B and W of standardised columns."""
        ratio = self.scales.unsqueeze(1) / self.scales
        return arrows * ratio, doubles / (self.scales.unsqueeze(1) * self.scales)
