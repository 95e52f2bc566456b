"""`DiscoverGraph`: a discovery method as a scikit-learn estimator; scikit-learn itself is not needed."""

import dataclasses
import inspect
from collections.abc import Callable, Iterable
from importlib import import_module
from operator import attrgetter, methodcaller
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from intaglio.causal.family import NO_KNOWLEDGE, Discoverer
from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.results.discovery import Discovery
from intaglio.causal.tables.table import Kinds
from intaglio.errors import BadInput
from intaglio.verbs import VERBS

VIEWS: dict[str, Callable[[Discovery], Any]] = {
    "graph_": attrgetter("graph"),
    "causal_graph_": methodcaller("to_pgmpy"),  # pgmpy's own estimators have it under this name
    "adjacency_": attrgetter("graph.adjacency"),
    "adjacency_matrix_": methodcaller("adjacency_frame"),
    "skeleton_proba_": methodcaller("skeleton_frame"),
    "vstructure_proba_": methodcaller("collider_frame"),
    "mark_proba_": methodcaller("mark_frame"),
    "edges_": methodcaller("to_frame"),
    "ood_score_": attrgetter("ood_score"),
    "duplicate_groups_": attrgetter("duplicates"),
    "isolated_": attrgetter("isolated"),
    "n_conflicts_": attrgetter("conflicts"),
    "fallback_used_": attrgetter("fallback"),
    "feature_names_in_": lambda found: np.array(found.names, dtype=object),
    "n_features_in_": lambda found: len(found.names),
}
"""Fitted attributes, each as a function of `discovery_`."""
FORWARDED_METHODS = ("to_networkx", "to_pgmpy", "to_causallearn", "to_pcalg", "sample_dag", "score")
"""Methods of `discovery_` that the estimator has too."""


class Probabilities(NamedTuple):
    """Calibrated probabilities of one table."""

    skeleton: pd.DataFrame
    """[d, d]: the pair is adjacent; symmetric, 0 on the diagonal."""
    vstructures: pd.DataFrame
    """A row per unshielded triple of the graph: centre, leg1, leg2, p_collider, collider."""
    marks: pd.DataFrame
    """A row per pair, given that it is adjacent: first, second, p_forward, p_backward, p_undirected; or, of a PAG, the
    marks at both, as `Discovery.mark_frame` has them."""


class NotFitted(BadInput, AttributeError):
    """A fitted attribute before `fit`; an AttributeError too, so that `hasattr` is False."""


class DiscoverGraph:
    """A CPDAG, an MPDAG or a PAG with probabilities from a table, as a scikit-learn estimator.

        found = DiscoverGraph(SiCL(subsamples=30), kinds={"month": "nominal"}).fit(frame)
        found.edges_; found.adjacency_matrix_; found.to_networkx()

    After `fit`, `discovery_` is the `Discovery`. Views of it are, as frames, `edges_`, `adjacency_matrix_` (0 and 1, as
    pgmpy has it), `skeleton_proba_`, `vstructure_proba_` and `mark_proba_`; as graphs, `graph_`, `adjacency_`
    (booleans [d, d]) and `causal_graph_` (pgmpy's `PDAG`); and `ood_score_` (probability that the graph is worse than
    the empty graph), `duplicate_groups_`, `isolated_`, `n_conflicts_`, `fallback_used_`, `feature_names_in_`,
    `n_features_in_`. The methods `to_networkx`, `to_pgmpy`, `to_causallearn`, `to_pcalg`, `sample_dag` and `score` are
    those of `discovery_`. With `latent=True`, or a method
    that gives a PAG, such as `ABIC()`, the frames hold the marks at both ends, and what stands for DAGs alone is
    refused. `clone`, `get_params`, `set_params` (also `method__threshold=...`) and `check_is_fitted` work.

    Args:
        method: settings of a discovery method, such as `SiCL()`; by default the method, with its defaults, that
            `intaglio discover` takes where none is named.
        latent: allow for hidden common causes: the default method then is one that gives a PAG. `fit` raises a
            `ValueError` where `method` gives no PAG.
        kinds: kinds of columns by name, where the kind that a column seems to have is wrong.
        knowledge: background knowledge of the graph.
    """

    def __init__(
        self,
        method: Discoverer | None = None,
        *,
        latent: bool = False,
        kinds: Kinds | None = None,
        knowledge: Knowledge | None = None,
    ):
        self.method = method
        self.latent = latent
        self.kinds = kinds
        self.knowledge = knowledge

    def fit(self, X: Any, y: Any = None) -> "DiscoverGraph":
        """Search a DataFrame, an array [n, d] or a `Table`; unnamed columns become x0, x1, …; `y` is not used."""
        self.discovery_ = self._found(X)
        return self

    def predict_proba(self, X: Any) -> Probabilities:
        """The probabilities for another table, which need not have the same columns; what was fitted stays.

        Raises:
            BadInput: `fit` was not called, or the table cannot be searched.
        """
        _ = self.discovery_
        found = self._found(X)
        return Probabilities(found.skeleton_frame(), found.collider_frame(), found.mark_frame())

    def _found(self, X: Any) -> Discovery:
        knowledge = NO_KNOWLEDGE if self.knowledge is None else self.knowledge
        method = _or_default(self.method, self.latent)
        if self.latent and method.gives != "PAG":
            raise ValueError(f"{method.name} does not allow for hidden common causes; leave method or latent out")
        return method(X, kinds=self.kinds, knowledge=knowledge)

    def __getattr__(self, name: str) -> Any:
        if name not in ("discovery_", *VIEWS, *FORWARDED_METHODS):
            raise AttributeError(f"DiscoverGraph has no attribute {name!r}")
        if "discovery_" not in vars(self):
            raise NotFitted("this DiscoverGraph has found nothing yet; call fit with a table first")
        return VIEWS[name](self.discovery_) if name in VIEWS else getattr(self.discovery_, name)

    def __dir__(self) -> Iterable[str]:
        return [
            *super().__dir__(),
            *(["discovery_", *VIEWS, *FORWARDED_METHODS] if self.__sklearn_is_fitted__() else []),
        ]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments by name; with `deep` also the settings of the method, as `method__<setting>`."""
        params = {name: getattr(self, name) for name in _arguments()}
        if deep and self.method is not None:
            params |= {f"method__{f.name}": getattr(self.method, f.name) for f in dataclasses.fields(self.method)}
        return params

    def set_params(self, **params: Any) -> "DiscoverGraph":
        """Change arguments, or settings of the method by `method__<setting>`; the method itself is made anew.

        Raises:
            ValueError: there is no such argument or setting, or the method refuses its value.
        """
        method = params.pop("method", self.method)
        changes = {name: params.pop(name) for name in list(params) if name.startswith("method__")}
        if changes:
            method = _or_default(method, params.get("latent", self.latent))
            known = [field.name for field in dataclasses.fields(method)]
            settings = {name.removeprefix("method__"): value for name, value in changes.items()}
            if unknown := [name for name in settings if name not in known]:
                raise ValueError(f"the method has no setting {unknown[0]!r}; it has {', '.join(known)}")
            method = dataclasses.replace(method, **settings)
        if unknown := [name for name in params if name not in _arguments()]:
            raise ValueError(f"DiscoverGraph has no argument {unknown[0]!r}; it has {', '.join(_arguments())}")
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
        given = {name: value for name, value in self.get_params(deep=False).items() if value not in (None, False)}
        return f"DiscoverGraph({', '.join(f'{name}={value!r}' for name, value in given.items())})"


def _arguments() -> list[str]:
    return list(inspect.signature(DiscoverGraph).parameters)


def _or_default(method: Discoverer | None, latent: bool) -> Discoverer:
    if method is not None:
        return method
    verb = VERBS["discover"]
    module, _, name = verb.methods[verb.by_flag["--latent"] if latent else verb.default].target.partition(":")
    return getattr(import_module(module), name)()
