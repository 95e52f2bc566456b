"""SPOT: causal discovery with hidden common causes, by a differentiable search that a skeleton posterior guides."""

import time
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from intaglio.causal.confounding.class_repair import AllowedGraphs, Edges
from intaglio.causal.confounding.likelihood_learner import LikelihoodLearner
from intaglio.causal.confounding.restart_search import STATE, RestartSearch, SearchBudget, space_of
from intaglio.causal.confounding.search_plan import within_limit
from intaglio.causal.family import NO_KNOWLEDGE, Discoverer, as_table, unusable_knowledge
from intaglio.causal.graphs.knowledge import Constraints, Knowledge
from intaglio.causal.methods.spot import half_samples, vicinal
from intaglio.causal.methods.spot.cascade import SkeletonCascade
from intaglio.causal.methods.spot.correlations import Correlations
from intaglio.causal.methods.spot.edge_costs import edge_costs, sparsity_of
from intaglio.causal.methods.spot.half_samples import half_sample_graphs
from intaglio.causal.methods.spot.posterior import SkeletonProbabilities, two_variables
from intaglio.causal.methods.spot.posterior_choice import chosen_posterior, posterior_weights
from intaglio.causal.methods.spot.posterior_mask import PosteriorMask
from intaglio.causal.methods.spot.shrinkage import with_few_rows
from intaglio.causal.results.discovery import Discovery
from intaglio.causal.results.latent_discovery import discovery_of
from intaglio.causal.tables.assumptions import DEPENDENT_ROWS, REPEATED_ROWS, TREND, examine
from intaglio.causal.tables.gaussian_columns import GaussianColumns, gaussian_columns
from intaglio.causal.tables.table import Kinds, Table
from intaglio.errors import BadInput
from intaglio.runs.deadline import Deadline
from intaglio.runs.run import Run
from intaglio.runs.time_plan import TimePlan

FIRST_WEIGHT = 1e-3
"""Weight α of the class in the first stage: small beside a likelihood of about 1 a variable."""
HALVES_SHARE = 0.2
"""Share of the time limit that is left for halves of the rows, without which marks look surer than they are."""
LEAST_ROWS = 10
"""Least number of rows that count, however much they depend on each other."""
REMEDIES = {
    REPEATED_ROWS: "the search counts each once",
    DEPENDENT_ROWS: "the search counts them as so many",
    TREND: "the search takes the trend out",
}
"""Ends of the warnings of assumptions that the search does something about, by their reasons."""


@dataclass(frozen=True, kw_only=True)
class SPOT(Discoverer):
    """Find a PAG, which allows for hidden common causes, guided by a learnt skeleton posterior.

    First a posterior of the skeleton: boosted trees, learnt on simulated tables, give each pair the probability that it
    is adjacent in the MAG, from partial correlations. Then a differentiable search over linear ADMGs from many random
    starts, as in ABIC but by the Gaussian likelihood, in which a pair changes in a step with its inclusion probability
    (one draw for both arrows and the double arrow), and its sparsity weighs by its posterior odds. Then a search by BIC
    and posterior over single edges, from the best of them, and of random halves of the rows.

    The result is the PAG of the best graph, with circles for the marks that restarts and halves disagree over.
    Probabilities of adjacency are those of the posterior, calibrated on simulations; marks have the shares of the
    restarts and of the halves. Without hidden causes the search is over DAGs,
    with the posterior calibrated for them, and the result a CPDAG.

    Where rows are few for the columns, the search has shrunken correlations, since the likelihood of sample
    correlations then pays for any edge. Numbers are needed, without missing cells; effects are taken for linear, errors
    for normal. The published search has ABIC's least squares as its loss; by the likelihood, restarts end at far better
    graphs here.

    Source: arXiv 2406.10537 (posterior, masks); arXiv 2010.06978 (ABIC); KDD 2022, ML4S (cascade).
    """

    gives: ClassVar[Literal["CPDAG", "PAG"]] = "PAG"

    hidden_causes: bool = True
    """Whether there may be hidden common causes; without them the result is a CPDAG."""
    guidance: Literal["both", "mask", "prior", "none"] = "both"
    """Use of the posterior: masks of the updates, weights of sparsity and edges, both, or none."""
    posterior: str = "cascade"
    """Skeleton posterior: cascade (boosted trees), network (the network of `discover sicl`, calibrated for MAGs), or a
    file of either as `intaglio causal train-skeleton` writes it (.safetensors, .json)."""
    vicinal: int = 0
    """Vicinal data sets, 8 or more: tables simulated from graphs of random halves of the rows, on which the cascade is
    tuned; 0 for none. For tables unlike the training simulations, such as those with weak effects; it takes longer."""
    restarts: int = 16
    """Random starts, 1 to 1000."""
    searched: int = 8
    """Number of restarts, those of the best scores, that the search over single edges begins at, 1 or more; all of them
    where `restarts` is no larger."""
    half_samples: int = 10
    """Random halves of the rows whose graphs tell how stable marks are, 0 or more."""
    least_share: float = 0.9
    """Share, 0 to 1, of restarts and halves below which a mark of a PAG is drawn as a circle: where they disagree, the
    rows do not tell it. 0 draws the PAG of the best graph."""
    threshold: float = 0.05
    """Standardised size above 0 of a coefficient or an error covariance above which it is an edge."""
    stages: int = 12
    """Most stages of the search by gradients, 1 to 30. The penalty for graphs outside of the class, such as those
    with a directed cycle, weighs α = 0.001 in the first stage and √10 times as much in each further one."""
    steps: int = 150
    """Steps of a stage, 1 or more."""
    sweeps: int = 10
    """Most sweeps of the search over single edges, 0 or more; 0 only takes edges out, once."""
    least_probability: float = 0.01
    """Least probability of adjacency by the posterior, in [0, 1], at which the search over single edges tries edges
    between a pair that has none; 0 tries all pairs, and takes longest. Without guidance all are tried."""
    time_limit: float = 600.0
    """Seconds, above 0 and finite, after which the search ends with what it has, and says so. Vicinal data sets have as
    many again."""
    seed: int = 0
    """Seed of starts, masks and halves, and of the rows that are sampled from a long file."""
    device: str = "cpu"
    """Torch device, such as cpu or cuda; one with 64-bit floats."""

    def __post_init__(self) -> None:
        for name, least in (("searched", 1), ("half_samples", 0), ("steps", 1), ("sweeps", 0), ("seed", 0)):
            if getattr(self, name) < least:
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
        for name in ("least_share", "least_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be 0 to 1, not {getattr(self, name)}")
        if self.vicinal and self.vicinal < vicinal.FEWEST:
            raise ValueError(f"vicinal must be 0, or {vicinal.FEWEST} or more, not {self.vicinal}")
        if self.vicinal and self.posterior == "network":
            raise ValueError("vicinal tunes a cascade; leave it out for the posterior network")

    def __call__(
        self,
        table: Table | Any,
        *,
        kinds: Kinds | None = None,
        knowledge: Knowledge = NO_KNOWLEDGE,
        run: Run = Run.none(),
    ) -> Discovery:
        """See `Discoverer.__call__`; a killed search resumes at the stage, graph or half that it was at."""
        began = time.monotonic()
        whole = as_table(table, kinds)
        knowledge.check(whole.all_names, hidden_causes=self.hidden_causes)
        known = knowledge.restricted_to(whole.names).constraints(whole.names, hidden_causes=self.hidden_causes)
        examined = examine(whole)
        once, rows = examined.table, max(LEAST_ROWS, examined.rows_that_count)
        columns = with_few_rows(replace(gaussian_columns(once, standardise=True), rows=rows))
        skeleton = self._skeleton(once, rows, run)
        search = self._search(columns, skeleton, known, run)
        found = search.found()
        best = min(found, key=lambda one: one[0])[1]
        halves = self._halves(once, best, search, run)
        warnings = (
            *whole.warnings,
            *(
                f"{one.warning}; {remedy}" if (remedy := REMEDIES.get(one.reason)) else one.warning
                for one in examined.broken
            ),
            *columns.warnings,
            *skeleton.flags,
            *search.warnings(),
            *_few_halves(len(halves), self.half_samples),
            *unusable_knowledge(knowledge, whole),
        )
        made = discovery_of(
            self.name,
            whole,
            found,
            known,
            warnings,
            posterior=_told(skeleton.posterior, known),
            resampled=halves,
            hidden_causes=self.hidden_causes,
            least_share=self.least_share,
        )
        return replace(made, seconds=time.monotonic() - began)

    def planned(self, table: Table, *, knowledge: Knowledge = NO_KNOWLEDGE) -> TimePlan:
        """See `Discoverer.planned`; vicinal data sets are taken to use up their limit."""
        knowledge.check(table.all_names, hidden_causes=self.hidden_causes)
        known = knowledge.restricted_to(table.names).constraints(table.names, hidden_causes=self.hidden_causes)
        examined, began = examine(table), time.perf_counter()
        once, rows = examined.table, max(LEAST_ROWS, examined.rows_that_count)
        columns = with_few_rows(replace(gaussian_columns(once, standardise=True), rows=rows))
        plain = replace(self, vicinal=0, half_samples=min(1, self.half_samples))
        skeleton = plain._skeleton(once, rows, Run.none())
        posterior = time.perf_counter() - began
        search = plain._search(columns, skeleton, known, Run.none())
        parts, best = search.timed()
        began = time.perf_counter()
        plain._halves(once, best, search, Run.none())
        parts["halves"] = self.half_samples * (time.perf_counter() - began)
        plan = within_limit(parts, self.time_limit, f"columns    {len(table.names)}, restarts {self.restarts}")
        vicinal_s = {"vicinal data sets": self.time_limit} if self.vicinal else {}
        return replace(plan, parts={"posterior": posterior, **vicinal_s, **plan.parts})

    def undivided(self) -> str:
        """See `Discoverer.undivided`."""
        return ""

    def forget(self, run: Run) -> None:
        """See `Discoverer.forget`."""
        for state in (STATE, half_samples.STATE, vicinal.STATE):
            run.drop_state(state)

    def weights(self) -> dict[str, dict[str, str]]:
        """The file of the posterior and its hash, and the network's where the posterior has one."""
        return posterior_weights(self.posterior)

    def _skeleton(self, table: Table, rows: int, run: Run) -> SkeletonProbabilities:
        estimator = chosen_posterior(self.posterior, hidden_causes=self.hidden_causes, device=self.device)
        correlations = replace(Correlations.of_rows(table.values, table.names), rows=rows)
        if len(table.names) == 2:
            return two_variables(correlations)
        if not self.vicinal:
            return estimator(correlations, self.seed, table.values)
        if not isinstance(estimator, SkeletonCascade):
            raise BadInput(f"{self.posterior} is no cascade, which vicinal data sets tune; leave --vicinal out")
        end = time.monotonic() + self.time_limit
        tuning = vicinal.VicinalTuning(self.vicinal, self.seed, self.least_probability)
        deadline = Deadline.after(self.time_limit)
        return tuning(estimator, correlations, table.values, lambda: time.monotonic() < end, run, deadline)

    def _search(
        self, columns: GaussianColumns, skeleton: SkeletonProbabilities, known: Constraints, run: Run
    ) -> RestartSearch:
        device, names = torch.device(self.device), skeleton.names
        masked, prior = self.guidance in ("both", "mask"), self.guidance in ("both", "prior")
        certain = known.required | known.required.T | known.adjacent
        inclusion = np.where(certain, 1.0, skeleton.inclusion)
        costs = edge_costs(skeleton.posterior) if prior else np.zeros_like(inclusion)
        learner = LikelihoodLearner(
            covariance=torch.from_numpy(columns.covariance).to(device),
            scales=torch.from_numpy(columns.scales).to(device),
            rows=columns.rows,
            kind="ancestral",
            space=space_of(known, self.device, doubles=self.hidden_causes),
            sparsity=torch.from_numpy(sparsity_of(costs, columns.rows)).to(device),
            threshold=self.threshold,
            stages=self.stages,
            rounds_each=1,
            steps=self.steps,
            mask=PosteriorMask(inclusion, self.seed) if masked else None,
            first_weight=FIRST_WEIGHT,
        )
        budget = SearchBudget(
            restarts=self.restarts,
            searched=self.searched,
            sweeps=self.sweeps,
            time_limit=self.time_limit,
            seed=self.seed,
            reserved=HALVES_SHARE if self.half_samples else 0.0,
        )
        least = self.least_probability if self.guidance != "none" else 0.0

        def pairs(edges: Edges) -> list[tuple[int, int]]:
            joined = edges.directed | edges.directed.T | edges.bidirected
            looked = joined | known.adjacent | (skeleton.posterior >= least)
            return [(int(i), int(j)) for i, j in np.argwhere(np.triu(looked, 1))]

        allowed = AllowedGraphs(names, "ancestral", known, doubles=self.hidden_causes)
        initial = torch.from_numpy(inclusion).to(device) if masked else None
        return RestartSearch(learner, columns.covariance, allowed, budget, pairs, run, costs, initial)

    def _halves(self, table: Table, best: Edges, search: RestartSearch, run: Run) -> list[Edges]:
        if len(table.values) // 2 < LEAST_ROWS:
            return []
        standard = (table.values - table.values.mean(0)) / table.values.std(0)
        pairs, count = list(search.pairs(best)), self.half_samples
        given = (standard, best, search.allowed, pairs, search.costs, count, self.seed, search.within_limit, run)
        return half_sample_graphs(*given, deadline=Deadline.after(search.seconds_left))


def _told(posterior: np.ndarray, known: Constraints) -> np.ndarray:
    """The posterior given background knowledge: 1 where an edge is known to be, 0 where it is known not to."""
    certain = known.required | known.required.T | known.adjacent
    return np.where(certain, 1.0, np.where(known.apart, 0.0, posterior))


def _few_halves(done: int, asked: int) -> tuple[str, ...]:
    """A sentence where halves of the rows could not be searched, or not all of them."""
    if done == asked:
        return ()
    return (
        f"{done or 'none'} of {asked} halves of the rows {'was' if done == 1 else 'were'} searched, for want of rows "
        "or time, so that the shares of the marks say less of how stable these are",
    )
