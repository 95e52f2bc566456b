"""Adapters of other packages' methods: values [n, d] in, marks [d, d] as `Graph.marks` out.

Settings are the packages' defaults, except for those that an entry's name states. On codes of levels tests are χ² and
scores BDeu. Packages are imported when a function is called.
"""

import numpy as np
from jaxtyping import Float, Int8
from numpy import ndarray
from numpy.typing import ArrayLike

from intaglio.bench.discover.baselines import class_of
from intaglio.causal.formats.matrices import CAUSAL_LEARN
from intaglio.causal.graphs.marks import Mark

Values = Float[ndarray, "n d"]
Marks = Int8[ndarray, "d d"]


def pc(values: Values, discrete: bool, alpha: float) -> Marks:
    """PC, stable, of causal-learn; Fisher's z or χ² at the level `alpha`."""
    from causallearn.search.ConstraintBased.PC import pc as run  # pyright: ignore[reportMissingImports]

    found = run(values, alpha, "chisq" if discrete else "fisherz", verbose=False, show_progress=False)
    return marks_from_codes(found.G.graph)


def ges(values: Values, discrete: bool) -> Marks:
    """GES of causal-learn; BIC with half a logarithm of the rows a parameter, or BDeu."""
    from causallearn.search.ScoreBased.GES import ges as run  # pyright: ignore[reportMissingImports]

    return marks_from_codes(run(values, "local_score_BDeu" if discrete else "local_score_BIC")["G"].graph)


def grasp(values: Values, discrete: bool, penalty: float) -> Marks:
    """GRaSP of causal-learn; BIC with `penalty` logarithms of the rows a parameter, or BDeu."""
    from causallearn.search.PermutationBased.GRaSP import grasp as run  # pyright: ignore[reportMissingImports]

    return marks_from_codes(run(values, **_score(discrete, penalty), verbose=False).graph)


def boss(values: Values, discrete: bool, penalty: float) -> Marks:
    """BOSS of causal-learn; scores as `grasp`."""
    from causallearn.search.PermutationBased.BOSS import boss as run  # pyright: ignore[reportMissingImports]

    return marks_from_codes(run(values, **_score(discrete, penalty), verbose=False).graph)


def direct_lingam(values: Values, discrete: bool) -> Marks:
    """DirectLiNGAM of causal-learn; the CPDAG of its DAG."""
    from causallearn.search.FCMBased.lingam import DirectLiNGAM  # pyright: ignore[reportMissingImports]

    model = DirectLiNGAM()
    model.fit(values)
    return class_of(np.asarray(model.adjacency_matrix_).T)


def dagma(values: Values, discrete: bool) -> Marks:
    """Linear DAGMA; the CPDAG of its DAG."""
    from dagma.linear import DagmaLinear  # pyright: ignore[reportMissingImports]

    return class_of(np.asarray(DagmaLinear(loss_type="l2").fit(values, lambda1=0.03, w_threshold=0.3)))


def notears(values: Values, discrete: bool) -> Marks:
    """Linear NOTEARS of gcastle; the CPDAG of its DAG."""
    from castle.algorithms import Notears  # pyright: ignore[reportMissingImports]

    model = Notears()
    model.learn(values)
    return class_of(np.asarray(model.causal_matrix, np.float64))


def _score(discrete: bool, penalty: float) -> dict:
    if discrete:
        return {"score_func": "local_score_BDeu"}
    return {"score_func": "local_score_BIC_from_cov", "parameters": {"lambda_value": penalty}}


def marks_from_codes(codes: ArrayLike) -> Marks:
    """Marks from causal-learn's codes; they are not checked, since PC may return a graph that is no CPDAG."""
    turned = np.asarray(codes).T
    marks = np.zeros(turned.shape, np.int8)
    for code, mark in CAUSAL_LEARN.items():
        marks[turned == code] = mark
    unknown = (turned != 0) & (marks == Mark.NONE)
    if unknown.any():
        raise ValueError(f"an edge with causal-learn's code {turned[unknown][0]}, which no single edge has")
    return marks
