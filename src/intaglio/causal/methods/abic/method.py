"""ABIC: causal discovery with hidden common causes, by a differentiable search over linear ADMGs."""

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import torch

from intaglio.causal.confounding.class_repair import AllowedGraphs
from intaglio.causal.confounding.edge_search import candidate_pairs
from intaglio.causal.confounding.mixed_graph_learner import MixedGraphLearner
from intaglio.causal.confounding.penalties import ARID_COLUMNS
from intaglio.causal.confounding.restart_search import STATE, RestartSearch, SearchBudget, space_of
from intaglio.causal.confounding.search_plan import within_limit
from intaglio.causal.family import NO_KNOWLEDGE, Discoverer, as_table, unusable_knowledge
from intaglio.causal.graphs.knowledge import Constraints, Knowledge
from intaglio.causal.results.discovery import Discovery
from intaglio.causal.results.latent_discovery import discovery_of
from intaglio.causal.tables.assumptions import broken_assumptions
from intaglio.causal.tables.gaussian_columns import GaussianColumns, gaussian_columns
from intaglio.causal.tables.table import Kinds, Table
from intaglio.errors import BadInput
from intaglio.runs.run import Run
from intaglio.runs.time_plan import TimePlan


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
    """Most stages of the search by gradients, 1 to 30. The penalty for graphs outside of the class, such as those
    with a directed cycle, weighs α = 1 in the first stage and √10 times as much in each further one."""
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
    """Seconds, above 0 and finite, after which the search ends with what it has, and says so. Where rows are no more
    than columns it often takes them all: graphs come out dense there, and each fit of a dense graph is slow."""
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
        if not 0 < self.threshold < float("inf"):
            raise ValueError(f"threshold must be above 0, not {self.threshold}")
        if not 0 < self.time_limit < float("inf"):
            raise ValueError(
                f"time_limit must be seconds above 0 and finite, not {self.time_limit}; for no limit take a large one, "
                "such as 1e9"
            )
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
        known = self._known(whole, knowledge)
        columns = gaussian_columns(whole, self.standardise)
        search = self._search(whole.names, columns, known, run)
        found = search.found()
        warnings = (
            *whole.warnings,
            *(one.warning for one in broken_assumptions(whole)),
            *columns.warnings,
            *search.warnings(),
            *_lost(self.restarts - len(found), self.restarts),
            *unusable_knowledge(knowledge, whole),
        )
        made = discovery_of(self.name, whole, found, known, warnings)
        return replace(made, seconds=time.monotonic() - began)

    def planned(self, table: Table, *, knowledge: Knowledge = NO_KNOWLEDGE) -> TimePlan:
        """See `Discoverer.planned`."""
        known, columns = self._known(table, knowledge), gaussian_columns(table, self.standardise)
        parts, _ = self._search(table.names, columns, known, Run.none()).timed()
        return within_limit(parts, self.time_limit, f"columns    {len(table.names)}, restarts {self.restarts}")

    def _known(self, table: Table, knowledge: Knowledge) -> Constraints:
        """Knowledge of the columns that are searched; raises `BadInput` where these cannot be searched."""
        knowledge.check(table.all_names, hidden_causes=True)
        if self.admg_class == "arid" and len(table.names) > ARID_COLUMNS:
            raise BadInput(
                f"arid graphs are searched over {ARID_COLUMNS} columns at most, and there are {len(table.names)}; take "
                "--admg-class bow-free or ancestral, or leave columns out"
            )
        return knowledge.restricted_to(table.names).constraints(table.names, hidden_causes=True)

    def undivided(self) -> str:
        """See `Discoverer.undivided`."""
        return ""

    def forget(self, run: Run) -> None:
        """See `Discoverer.forget`."""
        run.drop_state(STATE)

    def _search(self, names: tuple[str, ...], columns: GaussianColumns, known: Constraints, run: Run) -> RestartSearch:
        device = torch.device(self.device)
        learner = MixedGraphLearner(
            covariance=torch.from_numpy(columns.covariance).to(device),
            scales=torch.from_numpy(columns.scales).to(device),
            rows=columns.rows,
            kind=self.admg_class,
            space=space_of(known, self.device),
            sparsity=self.sparsity,
            threshold=self.threshold,
            stages=self.stages,
            rounds_each=self.rounds,
            steps=self.steps,
        )
        budget = SearchBudget(
            restarts=self.restarts,
            searched=self.restarts,
            sweeps=self.sweeps,
            time_limit=self.time_limit,
            seed=self.seed,
        )
        most = round(self.extra_pairs * len(names))
        pairs = partial(candidate_pairs, columns.covariance, most=most)
        return RestartSearch(
            learner, columns.covariance, AllowedGraphs(names, self.admg_class, known), budget, pairs, run
        )


def _lost(lost: int, restarts: int) -> tuple[str, ...]:
    """A sentence on restarts without a graph that agrees with what is known."""
    return (f"{lost} of {restarts} restarts found no graph that agrees with what is known",) if lost else ()
