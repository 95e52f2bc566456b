"""ABIC: causal discovery with hidden common causes, by a differentiable search over linear ADMGs."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from intaglio.causal.confounding.class_repair import AllowedGraphs, Edges, in_agreement, repaired, thresholded
from intaglio.causal.confounding.edge_search import candidate_pairs, improved
from intaglio.causal.confounding.mixed_graph_learner import MixedGraphLearner, Restarts, SearchSpace
from intaglio.causal.confounding.penalties import ARID_COLUMNS
from intaglio.causal.confounding.ricf import DistrictScores
from intaglio.causal.family import NO_KNOWLEDGE, Discoverer, as_table, unusable_knowledge
from intaglio.causal.graphs.knowledge import Constraints, Knowledge
from intaglio.causal.methods.abic.found_pag import discovery_of
from intaglio.causal.methods.abic.gaussian_columns import GaussianColumns, gaussian_columns
from intaglio.causal.results.discovery import Discovery
from intaglio.causal.tables.assumptions import broken_assumptions
from intaglio.causal.tables.table import Kinds, Table
from intaglio.errors import BadInput, IntaglioError
from intaglio.randomness import numpy_generator
from intaglio.runs.run import Run

STATE = "restarts"
"""Name of the checkpoint in a run."""
STATE_EVERY_S = 5.0
"""Least seconds between two checkpoints."""


@dataclass(frozen=True, kw_only=True)
class ABIC(Discoverer):
    """Find a PAG, which allows for hidden common causes, by gradients over linear ADMGs.

    The columns are X = X B + E with errors of covariance Ω. From several random starts, least squares with the
    pseudo-variables of residual iterative conditional fitting, plus λ Σ tanh(½ log(n) |θ|) over the entries of B and of
    Ω off its diagonal, plus α h(B, Ω), is minimised, while α grows; h is differentiable, and 0 exactly where the graph
    has no directed cycle and is of the class. Entries above a threshold are edges; edges that stand against the class
    go; a search by BIC over single edges follows. The graph of the least BIC is projected to its MAG, and the result is
    its PAG: the marks that all MAGs with the same conditional independences share.

    Given are the shares of the restarts, weighted by exp(-½ ΔBIC), in which a pair is adjacent and has its marks: how
    alike the graphs are that the search ended with, and no posterior. Numbers are needed, without missing cells;
    effects are taken for linear, errors for normal. The published search raises an augmented Lagrangian by L-BFGS;
    here it is proximal Adam, all restarts at once, along a path of α. The loss comes from the covariance, so rows cost
    nothing beyond it.

    Source: arXiv 2010.06978; arXiv 2406.10537 (PAG and its figures); JMLR 10, 2009, Drton, Eichler and Richardson
    (residual iterative conditional fitting).
    """

    gives: ClassVar[Literal["CPDAG", "PAG"]] = "PAG"

    admg_class: Literal["ancestral", "arid", "bow-free"] = "ancestral"
    """Class of the graphs that are searched; arid is offered for 12 columns at most. All give a PAG."""
    restarts: int = 5
    """Random starts, 1 to 1000."""
    sparsity: float = 0.05
    """λ, the weight of an edge in the objective, 0 or more."""
    threshold: float = 0.05
    """Standardised size above 0 of a coefficient or an error covariance above which it is an edge."""
    stages: int = 12
    """Weights α of the search, 1, √10, 10, …; 1 to 30."""
    rounds: int = 4
    """Rounds at one weight, each with pseudo-variables of its own, 1 or more."""
    steps: int = 100
    """Steps of a round, 1 or more."""
    sweeps: int = 10
    """Most sweeps of the search by BIC over single edges, 0 or more; 0 only takes edges out, once."""
    extra_pairs: float = 4.0
    """Pairs without an edge, in multiples of the columns, 0 or more, that this search looks at: those that are the most
    correlated given all other columns."""
    standardise: bool = True
    """Whether the columns are brought to one variance, so that units do not matter."""
    time_limit: float = 600.0
    """Seconds after which the search ends with what it has, and says so; above 0."""
    seed: int = 0
    """Seed of the starts, and of the rows that are sampled from a long file."""
    device: str = "cpu"
    """Torch device, such as cpu or cuda; one with 64-bit floats."""

    def __post_init__(self) -> None:
        for name, least in (
            ("rounds", 1),
            ("steps", 1),
            ("sweeps", 0),
            ("sparsity", 0),
            ("extra_pairs", 0),
            ("seed", 0),
        ):
            if not least <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be {least} or more, not {getattr(self, name)}")
        for name in ("threshold", "time_limit"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        for name, most in (("restarts", 1000), ("stages", 30)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be 1 to {most}, not {getattr(self, name)}")

    def __call__(
        self,
        table: Table | Any,
        *,
        kinds: Kinds | None = None,
        knowledge: Knowledge = NO_KNOWLEDGE,
        run: Run = Run.none(),
    ) -> Discovery:
        """See `Discoverer.__call__`; a killed search resumes at the round that it was at."""
        began = time.monotonic()
        whole = as_table(table, kinds)
        knowledge.check(whole.all_names, hidden_causes=True)
        known = knowledge.restricted_to(whole.names).constraints(whole.names, hidden_causes=True)
        if self.admg_class == "arid" and len(whole.names) > ARID_COLUMNS:
            raise BadInput(
                f"arid graphs are searched over {ARID_COLUMNS} columns at most, and there are {len(whole.names)}; take "
                "--admg-class bow-free or ancestral, or leave columns out"
            )
        columns = gaussian_columns(whole, self.standardise)
        search = _Search(self, whole.names, columns, known, run)
        state = search.restarts()
        found = search.graphs(state)
        warnings = (
            *whole.warnings,
            *(one.warning for one in broken_assumptions(whole)),
            *columns.warnings,
            *search.warnings(state),
            *unusable_knowledge(knowledge, whole),
        )
        made = discovery_of(self.name, whole, found, known, warnings)
        return replace(made, seconds=time.monotonic() - began)

    def forget(self, run: Run) -> None:
        """See `Discoverer.forget`."""
        run.drop_state(STATE)


class _Search:
    """One search: its learner, the time it has taken over all resumptions, and its checkpoint."""

    def __init__(self, method: ABIC, names: tuple[str, ...], columns: GaussianColumns, known: Constraints, run: Run):
        self.method, self.columns, self.run = method, columns, run
        self.allowed = AllowedGraphs(names, method.admg_class, known)
        self.began, self.before, self.late = time.monotonic(), 0.0, False
        self.finished: list[tuple[float, Edges]] = []
        self.learner = MixedGraphLearner(
            covariance=self._tensor(columns.covariance),
            scales=self._tensor(columns.scales),
            rows=columns.rows,
            kind=method.admg_class,
            space=_space(known, method.device),
            sparsity=method.sparsity,
            threshold=method.threshold,
            stages=method.stages,
            rounds_each=method.rounds,
            steps=method.steps,
        )

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(values)).to(self.method.device)

    def in_time(self) -> bool:
        """Whether there is time left; once there is not, the search is `late`."""
        self.late = self.late or self._left() < 0
        return not self.late

    def _left(self) -> float:
        """Seconds left."""
        return self.method.time_limit - (self.before + time.monotonic() - self.began)

    def _share_of_time(self, restarts: int) -> Callable[[], bool]:
        """Whether there is time left for this restart, which has as much as each of so many that are left."""
        end = time.monotonic() + self._left() / restarts

        def in_time() -> bool:
            over = time.monotonic() > end
            self.late = self.late or over
            return not over

        return in_time

    def restarts(self) -> Restarts:
        """The restarts at their ends, or where they were when the time was over."""
        state = self._stored() or self.learner.begin(self.method.restarts, self.method.seed)
        most = self.method.stages * self.method.rounds
        done = int(state.rounds.max())
        with self.run.progress(most, "rounds", done) as progress:
            for _ in self.learner.search(state):
                self._save(state)
                progress.advance()
                if not self.in_time():
                    break
        return state

    def graphs(self, state: Restarts) -> list[tuple[float, Edges]]:
        """BIC and edges of each restart's graph.

        Raises:
            IntaglioError: no restart has a graph that agrees with what is known.
        """
        arrows, doubles = (part.cpu().numpy() for part in self.learner.standardised(state.arrows, state.doubles))
        with self.run.progress(self.method.restarts, "graphs", len(self.finished)) as progress:
            for k in range(len(self.finished), self.method.restarts):
                self.finished.append(self._graph(k, arrows[k], doubles[k]))
                self._save(state)
                progress.advance()
        if not (found := [(bic, edges) for bic, edges in self.finished if bic < np.inf]):
            raise IntaglioError(
                "the search found no graph that agrees with what is known beforehand; take some of it back, or raise "
                "--restarts"
            )
        return found

    def _graph(self, k: int, arrows: np.ndarray, doubles: np.ndarray) -> tuple[float, Edges]:
        """BIC and edges of one restart's graph; an infinite BIC where none agrees with what is known."""
        first = thresholded(arrows, doubles, self.method.threshold, self.allowed.known)
        within = repaired(first, arrows, doubles, self.allowed)
        if (edges := in_agreement(within, self.allowed)) is None:
            return np.inf, within
        pairs = candidate_pairs(self.columns.covariance, edges, round(self.method.extra_pairs * len(arrows)))
        # Scores of its own for each restart: fits begin at earlier ones, and a resumed search must begin them alike.
        scores = DistrictScores(self.columns.covariance, self.columns.rows)
        random = numpy_generator(self.method.seed, k)
        in_time = self._share_of_time(self.method.restarts - k)
        edges, bic = improved(edges, scores, self.allowed, pairs, self.method.sweeps, random, in_time)
        return bic, edges

    def warnings(self, state: Restarts) -> list[str]:
        """Sentences on an end that its user should know of: too early, or without a graph of some restart."""
        found = []
        if self.late:
            found.append(
                f"the time limit of {self.method.time_limit:g} s ended the search early; a later one may find a better "
                "graph (--time-limit)"
            )
        if lost := sum(bic == np.inf for bic, _ in self.finished):
            found.append(f"{lost} of {self.method.restarts} restarts found no graph that agrees with what is known")
        return found

    def _save(self, state: Restarts) -> None:
        edges = [np.stack([one.directed, one.bidirected]) for _, one in self.finished]
        tensors = {name: value.cpu() for name, value in state.tensors().items()}
        d = len(self.columns.scales)
        tensors["bics"] = torch.tensor([bic for bic, _ in self.finished], dtype=torch.float64)
        tensors["finished"] = torch.from_numpy(np.array(edges, bool).reshape(-1, 2, d, d))
        seconds = self.before + time.monotonic() - self.began
        self.run.save_state(STATE, tensors, {"seconds": seconds, "late": self.late}, every_s=STATE_EVERY_S)

    def _stored(self) -> Restarts | None:
        saved = self.run.load_state(STATE)
        if saved is None:
            return None
        tensors, meta = saved
        bics, finished = tensors.pop("bics").tolist(), tensors.pop("finished").numpy()
        self.finished = [(bic, Edges(*edges)) for bic, edges in zip(bics, finished, strict=True)]
        self.before, self.late = float(meta["seconds"]), bool(meta["late"])
        return Restarts(**{name: value.to(self.method.device) for name, value in tensors.items()})


def _space(known: Constraints, device: str) -> SearchSpace:
    """The parameters that knowledge leaves: no forbidden arrows, and no double arrow beside a certain one."""
    other = ~np.eye(len(known.required), dtype=bool)
    certain = known.required | known.required.T
    matrices = (other & ~known.forbidden, other & ~known.apart & ~certain, known.required)
    arrows, doubles, required = (torch.from_numpy(np.array(matrix)).to(device) for matrix in matrices)
    return SearchSpace(arrows=arrows, doubles=doubles, certain=required)
