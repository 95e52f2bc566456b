"""`DiscoverCPDAG`: any way of finding a causal graph as a scikit-learn estimator, with no need of scikit-learn."""

import dataclasses
import inspect
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from intaglio.causal.family import NOTHING_KNOWN, Discoverer
from intaglio.causal.graphs.distances import Comparison
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.results.discovery import Discovery
from intaglio.causal.tables.table import Kinds
from intaglio.errors import BadInput


class Probabilities(NamedTuple):
    """What a method believes of a table, as pandas DataFrames."""

    skeleton: Any
    """[d, d]: P that the two are adjacent; symmetric, 0 on the diagonal."""
    vstructures: Any
    """A row an unshielded triple of the found graph: centre, leg1, leg2, p_collider, collider."""
    marks: Any
    """A row a pair, given adjacency: first, second, p_forward, p_backward, p_undirected."""


class NotFitted(BadInput, AttributeError):
    """An attribute that only `fit` gives; an AttributeError too, so that `hasattr` says no."""


class DiscoverCPDAG:
    """A CPDAG with probabilities from a table, in the manner of scikit-learn.

        found = DiscoverCPDAG(SiCL(subsamples=30), kinds={"month": "nominal"}).fit(frame)
        found.edges_; found.adjacency_matrix_; found.to_networkx()

    What `fit` found is `discovery_`, and every other name with an underscore at its end is a view of it. `clone`,
    `get_params`, `set_params` (also `method__threshold=...`) and `check_is_fitted` work.

    Args:
        method: a frozen dataclass of settings such as `SiCL()`, which is what None takes.
        kinds: of columns that should not be taken as they look, by name.
        knowledge: what is known of the graph beforehand.
    """

    discovery_: Discovery

    def __init__(
        self, method: Discoverer | None = None, *, kinds: Kinds | None = None, knowledge: Knowledge | None = None
    ):
        self.method = method
        self.kinds = kinds
        self.knowledge = knowledge

    def fit(self, X: Any, y: Any = None) -> "DiscoverCPDAG":
        """Search a DataFrame, an array [n, d] or a `Table`; unnamed columns become x0, x1, …; `y` is not used."""
        self.discovery_ = self._found(X)
        return self

    def predict_proba(self, X: Any) -> Probabilities:
        """The probabilities for another table, which need not have the same columns; what was fitted stays.

        Raises:
            BadInput: `fit` was not called, or the table cannot be searched.
        """
        _ = self._fitted
        return _probabilities(self._found(X))

    def _found(self, X: Any) -> Discovery:
        knowledge = NOTHING_KNOWN if self.knowledge is None else self.knowledge
        return _method(self.method)(X, kinds=self.kinds, knowledge=knowledge)

    @property
    def _fitted(self) -> Discovery:
        if "discovery_" not in vars(self):
            raise NotFitted("this DiscoverCPDAG has found nothing yet; call fit with a table first")
        return self.discovery_

    @property
    def graph_(self) -> Graph:
        """The CPDAG; an MPDAG where knowledge was given."""
        return self._fitted.graph

    @property
    def causal_graph_(self) -> Any:
        """The same as pgmpy's `PDAG`, under the name that pgmpy's own estimators have for it."""
        return self._fitted.to_pgmpy()

    @property
    def adjacency_(self) -> Bool[ndarray, "d d"]:
        """[i, j]: i → j or i — j."""
        return self._fitted.graph.adjacency

    @property
    def adjacency_matrix_(self) -> Any:
        """The same as a DataFrame of 0 and 1, as pgmpy has it."""
        return self._fitted.adjacency_frame()

    @property
    def skeleton_proba_(self) -> Any:
        """DataFrame [d, d]: P that the two are adjacent."""
        return self._fitted.skeleton_frame()

    @property
    def vstructure_proba_(self) -> Any:
        """DataFrame with a row an unshielded triple; see `Probabilities`."""
        return self._fitted.collider_frame()

    @property
    def mark_proba_(self) -> Any:
        """DataFrame with a row a pair; see `Probabilities`."""
        return self._fitted.mark_frame()

    @property
    def edges_(self) -> Any:
        """DataFrame with a row an edge and the numbers of `FoundEdge`."""
        return self._fitted.to_frame()

    @property
    def ood_score_(self) -> float:
        """Share of the table's features that lie outside what the method was trained on."""
        return self._fitted.ood_score

    @property
    def duplicate_groups_(self) -> tuple[tuple[str, ...], ...]:
        """Columns that say the same; the first of each stands for its group."""
        return self._fitted.duplicates

    @property
    def isolated_(self) -> tuple[str, ...]:
        """Constant columns."""
        return self._fitted.isolated

    @property
    def n_conflicts_(self) -> int:
        """Probable colliders that contradicted more probable ones."""
        return self._fitted.conflicts

    @property
    def fallback_used_(self) -> bool:
        """Whether the probabilities allowed no DAG, so that the nearest was searched for."""
        return self._fitted.fallback

    @property
    def feature_names_in_(self) -> ndarray:
        """The columns' names, as an array of objects."""
        return np.array(self._fitted.names, dtype=object)

    @property
    def n_features_in_(self) -> int:
        """How many columns there were."""
        return len(self._fitted.names)

    def to_networkx(self) -> nx.DiGraph:
        """A DiGraph with probabilities on its arcs."""
        return self._fitted.to_networkx()

    def to_pgmpy(self) -> Any:
        """Pgmpy's `PDAG`."""
        return self._fitted.to_pgmpy()

    def to_causallearn(self) -> Any:
        """causal-learn's `GeneralGraph`."""
        return self._fitted.to_causallearn()

    def to_pcalg(self) -> Int[ndarray, "d d"]:
        """The `amat.cpdag` of pcalg."""
        return self._fitted.to_pcalg()

    def sample_dag(self, seed: int = 0) -> Graph:
        """A random DAG of the class."""
        return self._fitted.sample_dag(seed)

    def score(self, true_graph: Graph) -> Comparison:
        """SHD and F1s against the true graph."""
        return self._fitted.score(true_graph)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments by name; with `deep` also the settings of the method, as `method__<setting>`."""
        params = {name: getattr(self, name) for name in _arguments()}
        if deep and self.method is not None:
            params |= {f"method__{f.name}": getattr(self.method, f.name) for f in dataclasses.fields(self.method)}
        return params

    def set_params(self, **params: Any) -> "DiscoverCPDAG":
        """Change arguments, or settings of the method by `method__<setting>`; the method itself is made anew.

        Raises:
            ValueError: there is no such argument or setting, or the method refuses its value.
        """
        method = params.pop("method", self.method)
        changes = {name: params.pop(name) for name in list(params) if name.startswith("method__")}
        if changes:
            method = _method(method)
            known = [field.name for field in dataclasses.fields(method)]
            settings = {name.removeprefix("method__"): value for name, value in changes.items()}
            if unknown := [name for name in settings if name not in known]:
                raise ValueError(f"the method has no setting {unknown[0]!r}; it has {', '.join(known)}")
            method = dataclasses.replace(method, **settings)
        if unknown := [name for name in params if name not in _arguments()]:
            raise ValueError(f"DiscoverCPDAG has no argument {unknown[0]!r}; it has {', '.join(_arguments())}")
        for name, value in {**params, "method": method}.items():
            setattr(self, name, value)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return "discovery_" in vars(self)

    def __sklearn_tags__(self) -> Any:
        # Only scikit-learn asks, so it is installed where this runs.
        from sklearn.utils import InputTags, Tags, TargetTags  # pyright: ignore[reportMissingImports]

        tags = InputTags(allow_nan=True, categorical=True, string=True)
        return Tags(estimator_type=None, target_tags=TargetTags(required=False), input_tags=tags)

    def __repr__(self) -> str:
        given = {name: value for name, value in self.get_params(deep=False).items() if value is not None}
        return f"DiscoverCPDAG({', '.join(f'{name}={value!r}' for name, value in given.items())})"


def _arguments() -> list[str]:
    return list(inspect.signature(DiscoverCPDAG).parameters)


def _method(given: Discoverer | None) -> Discoverer:
    from intaglio.causal.methods.sicl.method import SiCL

    return SiCL() if given is None else given


def _probabilities(found: Discovery) -> Probabilities:
    return Probabilities(found.skeleton_frame(), found.collider_frame(), found.mark_frame())
