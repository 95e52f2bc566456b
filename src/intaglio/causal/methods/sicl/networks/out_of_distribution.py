"""Out-of-distribution check: features of a table against their ranges over the training tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from intaglio.causal.methods.sicl.networks.encoding import CLIP_SD, CONTINUOUS

RANGE_PERCENTILES = (1.0, 99.0)
"""Percentiles of the training tables that bound the range of a feature."""
WARN_ABOVE = 0.2
"""Share of features outside their range above which a warning is given."""
ONLY_BELOW = frozenset({"rows"})
"""Features that are unlike the training only where they are small: more rows of the same law make nothing unlike it."""
ONLY_ABOVE = frozenset({"largest correlation", "condition", "skewness", "missing", "dependence"})
"""Features that are unlike the training only where they are large: they fall to 0 with more rows of an easier law."""
FEATURE_NAMES = {
    "rows": "number of rows",
    "columns": "number of columns",
    "largest correlation": "largest correlation",
    "condition": "condition number of the correlations",
    "kurtosis": "median kurtosis of the numeric columns",
    "largest kurtosis": "largest kurtosis of a numeric column",
    "skewness": "median skewness of the numeric columns",
    "levels": "largest number of levels",
    "missing": "share of missing cells",
    "dependence": "mean absolute correlation",
}


def features(values: Float[ndarray, "n d"], kinds: Int[ndarray, "d"]) -> dict[str, float]:
    """Features of a table by name; those that it does not have are left out.

    Args:
        values: numbers and codes of levels, NaN where missing.
        kinds: kinds of the columns, as codes of `encoding`.
    """
    n, d = values.shape
    found = {"rows": float(np.log10(n)), "columns": float(np.log10(d)), "missing": float(np.isnan(values).mean())}
    numbers, with_levels = kinds == CONTINUOUS, kinds != CONTINUOUS
    with np.errstate(all="ignore"):
        mean, spread = np.nanmean(values, 0), np.nanstd(values, 0)
        standard = np.nan_to_num((values - mean) / np.where(spread > 0, spread, 1.0))
    standard = np.clip(standard, -CLIP_SD, CLIP_SD)
    if d > 1:
        correlation = np.nan_to_num(standard.T @ standard / n)
        off = np.abs(correlation[np.triu_indices(d, 1)])
        found |= {"largest correlation": float(off.max()), "dependence": float(off.mean())}
        shrunk = 0.999 * correlation + 0.001 * np.eye(d)
        found["condition"] = float(np.log10(np.linalg.cond(shrunk)))
    if numbers.any():
        kurtosis = (standard[:, numbers] ** 4).mean(0)
        found |= {
            "kurtosis": float(np.median(kurtosis)),
            "largest kurtosis": float(kurtosis.max()),
            "skewness": float(np.median(np.abs((standard[:, numbers] ** 3).mean(0)))),
        }
    if with_levels.any():
        found["levels"] = float(np.nanmax(values[:, with_levels]) + 1)
    return found


@dataclass(frozen=True)
class FeatureRanges:
    """The ranges of features over the training tables."""

    low: Mapping[str, float]
    high: Mapping[str, float]

    @classmethod
    def of(cls, tables: Sequence[Mapping[str, float]]) -> "FeatureRanges":
        """Ranges of the middle 98% of each feature over the tables that have it."""
        names = {name for table in tables for name in table}
        low, high = {}, {}
        for name in sorted(names):
            values = [table[name] for table in tables if name in table]
            low[name], high[name] = (float(x) for x in np.percentile(values, RANGE_PERCENTILES))
        return cls(low, high)

    def outside(self, found: Mapping[str, float]) -> tuple[int, tuple[str, ...]]:
        """The number of a table's features that have a range, and a sentence for each that lies outside of it."""
        looked = [name for name in found if name in self.low]
        reasons = []
        for name in looked:
            below = found[name] < self.low[name] - 1e-9 and name not in ONLY_ABOVE
            above = found[name] > self.high[name] + 1e-9 and name not in ONLY_BELOW
            if below or above:
                side = "below" if below else "above"
                reasons.append(f"{FEATURE_NAMES.get(name, name)} is {side} what the network was trained on")
        return len(looked), tuple(reasons)
