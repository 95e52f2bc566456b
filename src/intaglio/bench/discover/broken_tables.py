"""The families of broken tables: each breaks one assumption of causal discovery, in several variants.

A variant makes a table and its sound twin from the same random graph and mechanisms. Strength, linear or bent
mechanisms, noise and kinds of columns are drawn per table.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from intaglio.bench.discover import broken_gaps, broken_rows, hidden_factors, rare_events
from intaglio.bench.discover.twin_tables import TwinTables
from intaglio.errors import BadInput

Variant = Callable[[np.random.Generator, int, int], TwinTables]
"""From a source of randomness, a number of columns and one of rows to twin tables."""

BROKEN_FAMILIES: Mapping[str, Mapping[str, Variant]] = {
    "dependent-rows": {"series": broken_rows.series, "walks": broken_rows.walks, "groups": broken_rows.groups},
    "repeated-rows": {"appended": broken_rows.appended, "resampled": broken_rows.resampled},
    "dependent-gaps": {"effect": broken_gaps.missing_by_effect, "other": broken_gaps.missing_by_other},
    "common-factor": {"depth": hidden_factors.depth, "batch": hidden_factors.batch, "weak": hidden_factors.weak_factor},
    "cell-types": {"types": hidden_factors.cell_types, "depth": hidden_factors.cell_types_with_depth},
    "rare-events": {"reports": rare_events.reports, "network": rare_events.network, "causes": rare_events.causes},
}
"""By family and variant: the generator."""


def checked_families(names: Sequence[str]) -> tuple[str, ...]:
    """The families of these names, all where there are none.

    Raises:
        BadInput: no family has one of the names.
    """
    if unknown := [name for name in names if name not in BROKEN_FAMILIES]:
        known = ", ".join(BROKEN_FAMILIES)
        raise BadInput(f"there is no family of broken tables called {unknown[0]!r}; choose from: {known}")
    return tuple(dict.fromkeys(names)) or tuple(BROKEN_FAMILIES)


def twin_tables(family: str, variant: str, rng: np.random.Generator, variables: int, rows: int) -> TwinTables:
    """One draw of a variant, its columns in a random order; it need not be `usable`."""
    made = BROKEN_FAMILIES[family][variant](rng, variables, rows)
    return made.reordered(rng.permutation(variables))
