"""CD-NOD: causal discovery from data of several domains, or of a time in which mechanisms change."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from intaglio.causal.family import NO_KNOWLEDGE, Discoverer, as_table, unusable_knowledge
from intaglio.causal.graphs.knowledge import Constraints, Knowledge
from intaglio.causal.independence.choice import TestName, independence_test, suitable
from intaglio.causal.independence.kernel_test import LEAST_ROWS
from intaglio.causal.methods.cd_nod import canonical
from intaglio.causal.methods.cd_nod.answers import STATE, Answers
from intaglio.causal.methods.cd_nod.canonical import CanonicalTable
from intaglio.causal.methods.cd_nod.context import Context, complete_rows, split
from intaglio.causal.methods.cd_nod.found import FoundChanges, discovery_of
from intaglio.causal.methods.cd_nod.independence_plan import questions, seconds_of_tests
from intaglio.causal.methods.cd_nod.independent_changes import IndependentChanges
from intaglio.causal.methods.cd_nod.modules import Modules
from intaglio.causal.methods.cd_nod.orientation import orient
from intaglio.causal.methods.cd_nod.serial_dependence import serial_dependence
from intaglio.causal.methods.cd_nod.skeleton import SkeletonSearch
from intaglio.causal.results.changes import DrivingForce
from intaglio.causal.results.discovery import Discovery
from intaglio.causal.tables.table import Kinds, Table
from intaglio.errors import BadInput
from intaglio.runs.run import Run
from intaglio.runs.time_plan import TimePlan

MOST_DEPTH = 8
"""Largest conditioning set that may be asked for; the number of tests grows with its power."""


@dataclass(frozen=True, kw_only=True)
class CDNOD(Discoverer):
    """Find the causal graph where mechanisms change over domains or time, and which change.

    Pooled data of several sites, or a series whose mechanisms drift, have edges that are no causes. CD-NOD adds the
    context C, the domain or the time, as a variable that nothing causes, and takes directions from the changes.

    Phase 1: PC-stable over the variables and C, with tests that see any dependence; the neighbours of C are the
    variables whose mechanism changes. Phase 2: C → V for these; V_k → V_l where V_k changes, V_l does not, and V_k
    separates V_l from C, else V_l → V_k; colliders; Meek's rules. Phase 3, for edges between two changing variables:
    the direction in which P(cause) and P(effect | cause) change independently, by the normalised HSIC of their kernel
    embeddings over C. It abstains, and leaves the edge undirected, where C has fewer than `min_regimes` independent
    regimes, where both changes follow one driver, or where fewer than 80% of resamples of C agree. Phase 4: principal
    components of each changing mechanism, as curves over C.

    The graph is an MPDAG over the columns other than the context. Each edge has the rule that oriented it and the
    largest p-value of its tests; it stands or falls by these at the level `alpha`, so its probability is 1 or 0.

    Assumed: no cycles; no effects that cancel each other; every hidden common cause is a function of C; given C, rows
    are exchangeable: this is no method for effects with a lag. Rows that depend on those before them beyond what C
    explains are told in a warning; take rows further apart then. For domains the kernel of C is 1[c = c'], so that
    their names and numbers do not matter. At least 50 rows are needed for the kernel tests.

    Source: arXiv 1903.01672 (JMLR 21, 2020); KCI arXiv 1202.3775; RCIT, Journal of Causal Inference 7 (2019).
    """

    context: str = ""
    """The column of domains or times, such as site or year; empty takes the order of the rows as time."""
    context_kind: Literal["auto", "time", "domain"] = "auto"
    """Whether the context is a time, whose values have an order and distances, or a domain; auto takes numbers that are
    not just a few whole ones as time."""
    test: Literal["auto", "kci", "rcit", "partial-correlation", "g"] = "auto"
    """The independence test: kci (kernels, time with the cube of the rows), rcit (random features, linear in the rows),
    partial-correlation (sees linear dependence alone), g (levels alone); auto takes g for levels, kci up to 2000 rows,
    and rcit above."""
    alpha: float = 0.05
    """Level in (0, 1) of the tests."""
    depth: int = 3
    """Largest conditioning set, from 0 to 8 variables."""
    phases: Literal[2, 3, 4] = 4
    """Last phase that is run: 2 without independent changes, 3 with them, 4 with curves of the changes."""
    min_regimes: int = 8
    """Independent regimes, 2 or more, that phase 3 needs: domains, or the time's range over its correlation length."""
    context_width: float = 0.2
    """Width of the kernel of a time, above 0, in its standard deviations; changes that are faster are not seen."""
    time_limit: float | None = None
    """Seconds, above 0, after which the search ends with what it has and says so; None for no limit."""
    seed: int = 0
    """Seed, 0 or more, of random features, of resamples, and of the rows that are sampled from a long file."""

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha must lie between 0 and 1, not {self.alpha}")
        if not 0 <= self.depth <= MOST_DEPTH:
            raise ValueError(f"depth must be 0 to {MOST_DEPTH}, not {self.depth}")
        if self.min_regimes < 2:
            raise ValueError(f"min_regimes must be at least 2, not {self.min_regimes}")
        if not 0 < self.context_width < float("inf"):
            raise ValueError(f"context_width must be above 0, not {self.context_width}")
        if self.time_limit is not None and not self.time_limit > 0:
            raise ValueError(f"time_limit must be above 0 seconds, not {self.time_limit}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative: {self.seed}")

    def __call__(
        self,
        table: Table | Any,
        *,
        kinds: Kinds | None = None,
        knowledge: Knowledge = NO_KNOWLEDGE,
        run: Run = Run.none(),
    ) -> Discovery:
        """See `Discoverer.__call__`; a killed search resumes at the test that it was at, its time limit anew."""
        began = time.monotonic()
        whole = as_table(table, kinds, self.context)
        knowledge.check(whole.all_names)
        rest, context = split(whole, self.context, self.context_kind)
        used, left, gap_notes = complete_rows(rest, context)
        ordered = canonical.ordered(used, left, width=self.context_width)
        constraints = canonical.constraints(knowledge, ordered)
        test = self._test_name(ordered)
        late = _deadline(began, self.time_limit)
        found, forces = self._search(ordered, left, constraints, test, late, run)
        notes = (
            *whole.warnings,
            *context.warnings,
            *gap_notes,
            *serial_dependence(used, left),
            *unusable_knowledge(knowledge, whole),
            *found.warnings(self.time_limit),
        )
        made = discovery_of(found, forces, rest, left, method=self.name, alpha=self.alpha, test=test)
        return replace(made, warnings=tuple(dict.fromkeys(notes)), seconds=time.monotonic() - began)

    def planned(self, table: Table, *, knowledge: Knowledge = NO_KNOWLEDGE) -> TimePlan:
        """See `Discoverer.planned`: tests are counted by partial correlations, and some of them timed."""
        knowledge.check(table.all_names)
        rest, context = split(table, self.context, self.context_kind)
        used, left, _ = complete_rows(rest, context)
        ordered = canonical.ordered(used, left, width=self.context_width)
        name = self._test_name(ordered)
        tester = independence_test(name, ordered.variables, alpha=self.alpha, seed=self.seed)
        given = canonical.constraints(knowledge, ordered)
        asked = questions(
            ordered.variables, given, alpha=self.alpha, depth=self.depth, test=tester if name == "g" else None
        )
        seconds = seconds_of_tests(tester, asked)
        if self.time_limit is not None:
            seconds = min(seconds, self.time_limit)
        count = sum(len(pairs) for sets in asked.values() for pairs, _ in sets)
        head = (
            f"tests      about {count:,} ({name}), if dependence is linear; a rough count, without the time of the "
            "directions by changes"
        )
        return TimePlan({"tests": seconds}, head)

    def variables(self, table: Table) -> tuple[str, ...]:
        """All columns but the context."""
        return tuple(name for name in table.all_names if name != self.context)

    def forget(self, run: Run) -> None:
        """See `Discoverer.forget`."""
        run.drop_state(STATE)

    def _test_name(self, ordered: CanonicalTable) -> TestName:
        """The test; raises `BadInput` where it cannot be used on this table."""
        name = suitable(ordered.variables) if self.test == "auto" else self.test
        rows = len(ordered.variables)
        if name == "g" and (numbers := [one for one in ordered.names_with_context if not ordered.levels_of(one)]):
            raise BadInput(f"the G-test takes levels, and {numbers[0]!r} holds numbers; ask for another test")
        if name in ("kci", "rcit") and rows < LEAST_ROWS:
            raise BadInput(
                f"{rows} rows are too few for the test {name}, which needs {LEAST_ROWS}; give more rows, or ask for "
                "partial-correlation (--test)"
            )
        return name

    def _search(
        self,
        ordered: CanonicalTable,
        context: Context,
        constraints: Constraints,
        test: TestName,
        late: Callable[[], bool],
        run: Run,
    ) -> tuple[FoundChanges, tuple[DrivingForce, ...]]:
        """The phases, each a step of the progress: every level of phase 1, and the others together."""
        answers = Answers(run)
        tester = independence_test(test, ordered.variables, alpha=self.alpha, seed=self.seed)
        if ordered.constant_context:
            tester = canonical.NothingChanges(tester, len(ordered.names))
        done = min(answers.levels, self.depth + 1)
        with run.progress(self.depth + 2, "levels and orientation", done) as progress:

            def finished(level: int) -> None:
                if level >= done:
                    answers.finish(level)
                    progress.advance()

            search = SkeletonSearch(tester, answers, alpha=self.alpha, depth=self.depth)
            skeleton = search(constraints.adjacent, constraints.apart, late=late, finished=finished)
            graph, choices = orient(skeleton, constraints), ()
            modules = Modules.of(ordered.variables) if graph.directed[-1].any() else None
            if modules is not None and self.phases > 2 and not late():
                changes = IndependentChanges(modules, least_regimes=self.min_regimes, seed=self.seed, late=late)
                graph, choices = changes(graph)
            cut = skeleton.unfinished is not None or (self.phases > 2 and late())
            found = FoundChanges(ordered, skeleton, graph, choices, len(answers), cut)
            drawn = modules is not None and self.phases > 3 and not late()
            forces = found.forces(modules, context) if modules is not None and drawn else ()
            progress.advance()
        return found, forces


def _deadline(began: float, limit: float | None) -> Callable[[], bool]:
    return lambda: limit is not None and time.monotonic() - began > limit
