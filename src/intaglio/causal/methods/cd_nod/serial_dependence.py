"""Dependence of rows on those before them, beyond what the context explains."""

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from intaglio.causal.methods.cd_nod.context import Context
from intaglio.causal.tables.row_dependence import row_dependence
from intaglio.causal.tables.table import Table

SPAN_SHARE = 0.1
"""Rows of the running mean that stands for a smooth drift, as a share of all."""
SHOWN = 5


def serial_dependence(table: Table, context: Context) -> tuple[str, ...]:
    """A warning where numbers, less their mean in the domain or over near times, depend on the row before."""
    numbers = [k for k, kind in enumerate(table.kinds) if kind == "continuous"]
    if not numbers:
        return ()
    values = table.values[:, numbers]
    left = _less_domains(values, context.values) if context.kind == "domain" else _less_drift(values, context.values)
    found = row_dependence(left, ("continuous",) * len(numbers))
    if found is None:
        return ()
    names = ", ".join(repr(table.names[numbers[k]]) for k in found.columns[:SHOWN])
    return (
        f"rows depend on those before them beyond what the context explains ({names}): {found.rows:,} rows count for "
        f"about {found.effective_rows:,}, so that tests find too many edges and changes; take rows further apart",
    )


def _less_domains(values: Float64[ndarray, "n f"], codes: Float64[ndarray, "n"]) -> Float64[ndarray, "n f"]:
    """Values less the mean of their domain, in the order of the table."""
    found = values.copy()
    for code in np.unique(codes):
        found[codes == code] -= values[codes == code].mean(0)
    return found


def _less_drift(values: Float64[ndarray, "n f"], times: Float64[ndarray, "n"]) -> Float64[ndarray, "n f"]:
    """Values in the order of time, less a running mean over a tenth of the rows."""
    ordered = values[np.argsort(times, kind="stable")]
    n, span = len(ordered), max(5, round(SPAN_SHARE * len(ordered)))
    sums = np.concatenate([np.zeros((1, ordered.shape[1])), np.cumsum(ordered, 0)])
    low, high = np.maximum(np.arange(n) - span // 2, 0), np.minimum(np.arange(n) + span // 2 + 1, n)
    return ordered - (sums[high] - sums[low]) / (high - low)[:, None]
