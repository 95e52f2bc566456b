"""`DiscoverGraph` as a scikit-learn estimator, with scikit-learn and without."""

import copy
import pickle
import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from found_graphs import found_graph
from intaglio import DiscoverGraph
from intaglio.causal.estimator import FORWARDED_METHODS, VIEWS
from intaglio.causal.family import Discoverer, as_table
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.results.discovery import Discovery
from intaglio.causal.tables.table import Table
from intaglio.errors import BadInput
from intaglio.runs.run import Run
from intaglio.runs.time_plan import TimePlan

CALLS: list[dict[str, Any]] = []


@dataclass(frozen=True, kw_only=True)
class Chain(Discoverer):
    """Says of every table that its columns are a chain in their order."""

    name: ClassVar[str] = "chain"
    sure: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.sure <= 1:
            raise ValueError(f"sure must lie between 0 and 1, not {self.sure}")

    def planned(self, table: Any, *, knowledge: Any = None) -> TimePlan:
        return TimePlan()

    def __call__(self, table: Any, *, kinds: Any = None, knowledge: Any = None, run: Run = Run.none()) -> Discovery:
        read = as_table(table, kinds)
        CALLS.append({"kinds": kinds, "knowledge": knowledge, "hash": read.content_hash})
        names = read.all_names
        graph = Graph.of("CPDAG", names, [(a, "---", b) for a, b in pairwise(names)])
        found = found_graph(graph=graph, method=self.name, duplicates=read.duplicates, isolated=read.isolated)
        return replace(found, adjacent=np.where(graph.skeleton, self.sure, 0.0), conflicts=2, ood_score=0.25)


@pytest.fixture
def frame():
    random = np.random.default_rng(0)
    return pd.DataFrame(random.normal(size=(40, 3)), columns=["rain", "wet", "slip"])


def test_what_was_found_has_the_names_that_others_use(frame):
    found = DiscoverGraph(Chain()).fit(frame)
    assert list(found.feature_names_in_) == ["rain", "wet", "slip"]
    assert found.feature_names_in_.dtype == object
    assert found.n_features_in_ == 3
    assert found.graph_.kind == "CPDAG"
    assert found.adjacency_.tolist() == [[False, True, False], [True, False, True], [False, True, False]]
    assert found.adjacency_matrix_.loc["rain", "wet"] == 1
    assert found.skeleton_proba_.loc["wet", "rain"] == 0.9
    assert set(found.vstructure_proba_) == {"centre", "leg1", "leg2", "p_collider", "collider"}
    assert len(found.mark_proba_) == 3
    columns = ["source", "target", "mark", "p_adjacent", "p_forward", "p_backward", "p_undirected", "confidence"]
    assert set(columns) <= set(found.edges_)
    assert found.edges_[["source", "mark", "target"]].to_numpy().tolist() == [
        ["rain", "---", "wet"],
        ["wet", "---", "slip"],
    ]
    assert (found.ood_score_, found.n_conflicts_, found.fallback_used_) == (0.25, 2, False)
    assert (found.duplicate_groups_, found.isolated_) == ((), ())
    assert found.score(found.sample_dag(0)).shd == 0
    assert set(found.to_networkx()) == {"rain", "wet", "slip"}
    assert found.to_pcalg().sum() == 4


def test_constant_and_repeated_columns_are_told(frame):
    frame = frame.assign(again=frame["wet"], still=1.0)
    found = DiscoverGraph(Chain()).fit(frame)
    assert found.isolated_ == ("still",)
    assert found.duplicate_groups_ == (("wet", "again"),)
    assert found.n_features_in_ == 5


def test_an_array_gets_names_and_a_table_is_taken_as_it_is(frame):
    plain = DiscoverGraph(Chain()).fit(frame.to_numpy())
    assert list(plain.feature_names_in_) == ["x0", "x1", "x2"]
    table = Table.from_frame(frame)
    CALLS.clear()
    DiscoverGraph(Chain()).fit(table)
    assert CALLS[0]["hash"] == table.content_hash
    with pytest.raises(ValueError, match="kinds belong to"):
        DiscoverGraph(Chain(), kinds={"rain": "continuous"}).fit(table)


def test_kinds_and_knowledge_reach_the_method(frame):
    known = Knowledge(forbidden=(("slip", "rain"),))
    CALLS.clear()
    estimator = DiscoverGraph(Chain(), kinds={"rain": "continuous"}, knowledge=known).fit(frame)
    estimator.predict_proba(frame.iloc[::-1])
    assert [call["kinds"] for call in CALLS] == [{"rain": "continuous"}] * 2
    assert [call["knowledge"] for call in CALLS] == [known] * 2


def test_the_probabilities_of_another_table_leave_the_fit_alone(frame):
    estimator = DiscoverGraph(Chain()).fit(frame)
    before = estimator.discovery_
    skeleton, vstructures, marks = estimator.predict_proba(frame.rename(columns={"rain": "snow"}))
    assert list(skeleton) == ["snow", "wet", "slip"]
    assert set(vstructures["centre"]) == {"wet"}
    assert len(marks) == 3
    assert estimator.discovery_ is before


def test_nothing_is_there_before_the_fit(frame):
    estimator = DiscoverGraph(Chain())
    assert len(VIEWS) > 12
    assert [name for name in ("discovery_", *VIEWS, *FORWARDED_METHODS) if hasattr(estimator, name)] == []
    assert [name for name in dir(estimator) if name.endswith("_") and not name.startswith("_")] == []
    with pytest.raises(BadInput, match="call fit with a table first"):
        estimator.edges_
    with pytest.raises(BadInput, match="call fit"):
        estimator.predict_proba(frame)


def test_after_the_fit_every_view_is_listed_and_copied_with_the_estimator(frame):
    estimator = DiscoverGraph(Chain()).fit(frame)
    needs_a_package = {"causal_graph_", "to_pgmpy", "to_causallearn"}
    assert {"discovery_", *VIEWS, *FORWARDED_METHODS} <= set(dir(estimator))
    assert all(hasattr(estimator, name) for name in {*VIEWS, *FORWARDED_METHODS} - needs_a_package)
    twin = pickle.loads(pickle.dumps(copy.deepcopy(estimator)))
    assert twin.edges_.equals(estimator.edges_)
    with pytest.raises(AttributeError, match="no attribute 'edges'"):
        estimator.edges


def test_arguments_are_stored_and_settings_reached_through_them():
    method = Chain()
    estimator = DiscoverGraph(method)
    assert estimator.get_params(deep=False) == {"method": method, "latent": False, "kinds": None, "knowledge": None}
    assert estimator.get_params()["method__sure"] == 0.9
    assert estimator.set_params(method__sure=0.4, kinds={"a": "nominal"}) is estimator
    assert estimator.method == Chain(sure=0.4)
    assert method.sure == 0.9, "the caller's method stays as it was"
    assert estimator.kinds == {"a": "nominal"}
    assert repr(estimator) == "DiscoverGraph(method=Chain(sure=0.4), kinds={'a': 'nominal'})"
    with pytest.raises(ValueError, match="no argument 'threshold'; it has method, latent, kinds, knowledge"):
        estimator.set_params(threshold=1)
    with pytest.raises(ValueError, match="no setting 'bogus'; it has sure"):
        estimator.set_params(method__bogus=1)
    with pytest.raises(ValueError, match="sure must lie"):
        estimator.set_params(method__sure=2)
    assert estimator.method == Chain(sure=0.4), "a refused change changes nothing"


def test_without_a_method_it_is_sicl():
    estimator = DiscoverGraph().set_params(method__seed=7)
    assert type(estimator.method).__name__ == "SiCL"
    assert estimator.method is not None
    assert estimator.get_params()["method__seed"] == 7


def test_with_latent_it_is_the_method_for_hidden_common_causes(frame):
    estimator = DiscoverGraph(latent=True).set_params(method__seed=7)
    assert estimator.method is not None
    assert estimator.method.gives == "PAG"
    assert repr(DiscoverGraph(latent=True)) == "DiscoverGraph(latent=True)"
    with pytest.raises(ValueError, match="does not allow for hidden common causes; leave method or latent out"):
        DiscoverGraph(Chain(), latent=True).fit(frame)


def test_scikit_learn_takes_it_for_its_own(frame):
    pytest.importorskip("sklearn")
    from sklearn.base import clone
    from sklearn.exceptions import NotFittedError
    from sklearn.utils import get_tags
    from sklearn.utils.validation import check_is_fitted

    estimator = DiscoverGraph(Chain(sure=0.7), kinds={"rain": "continuous"}).fit(frame)
    check_is_fitted(estimator)
    check_is_fitted(estimator, "discovery_")
    twin = clone(estimator)
    assert twin is not estimator
    assert twin.method == Chain(sure=0.7)
    assert twin.kinds == {"rain": "continuous"}
    with pytest.raises(NotFittedError):
        check_is_fitted(twin)
    assert get_tags(twin).input_tags.allow_nan
    assert not get_tags(twin).target_tags.required


def test_scikit_learn_is_not_needed():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from intaglio import DiscoverGraph\n"
        "made = DiscoverGraph(); made.get_params(); sys.stdout.write(repr(made))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("DiscoverGraph()", "")


def test_a_method_that_gives_a_pag_is_taken_as_any_other():
    from intaglio import ABIC
    from intaglio.causal.graphs.admg import ADMG
    from linear_admgs import rows_of

    made = ADMG.of("xyab", [("x", "-->", "a"), ("y", "-->", "b"), ("a", "<->", "b")])
    fitted = DiscoverGraph(ABIC(restarts=2, steps=20, stages=4, rounds=1)).fit(rows_of(made, 800, 1))
    assert fitted.graph_.kind == "PAG"
    assert fitted.adjacency_matrix_.loc["a", "b"] == fitted.graph_.marks[2, 3]
    assert "p_first_circle" in fitted.mark_proba_.columns
    assert fitted.score(made.mag()).skeleton.true == 3
    with pytest.raises(BadInput, match="hidden causes"):
        _ = fitted.adjacency_
    assert fitted.set_params(method__restarts=1).method.restarts == 1
