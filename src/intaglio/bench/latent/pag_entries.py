"""Methods of the PAG suites of `intaglio bench latent`: SPOT, parts and controls of it, ABIC, FCI, and PC."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int8
from numpy import ndarray

from intaglio.bench.discover.entries import Entry
from intaglio.bench.discover.peers import marks_from_codes
from intaglio.errors import BadInput
from intaglio.verbs import VERBS

OWN = "intaglio.bench.discover.own_methods:discover"
CONTROLLED = "intaglio.bench.latent.posterior_controls:ControlledSPOT"
CAUSAL_LEARN = ("causallearn", "causal-learn")
SPOT, SPOT_NETWORK, ABIC = "spot", "spot-network", "abic"
FCI_ENTRIES, SKELETON_ONLY = ("fci-0.01", "fci-0.05"), ("pc-0.01",)
"""FCI at two levels; entries that give no PAG, of which only the skeleton counts."""


def _ours(name: str, target: str, slow: bool = True, judged: str = "", **settings: Any) -> Entry:
    return Entry(name, OWN, {"method": target, **settings}, "ours", slow=slow, posterior=judged)


def _causal_learn(name: str, target: str, slow: bool = False, **settings: Any) -> Entry:
    return Entry(name, target, settings, "peer", "causal-learn", CAUSAL_LEARN, slow=slow)


_SPOT, _ABIC = (VERBS["discover"].methods[name].target for name in (SPOT, ABIC))
PAG_ENTRIES: tuple[Entry, ...] = (
    _ours(SPOT, _SPOT, slow=False, judged="cascade"),
    _ours(SPOT_NETWORK, _SPOT, judged="network", posterior="network"),
    _ours("spot-unguided", _SPOT, guidance="none"),
    _ours("spot-mask", _SPOT, guidance="mask"),
    _ours("spot-prior", _SPOT, guidance="prior"),
    _ours("spot-constant", CONTROLLED, control="constant"),
    _ours("spot-random", CONTROLLED, control="random"),
    _ours(ABIC, _ABIC, slow=False),
    *(_causal_learn(name, "intaglio.bench.latent.pag_entries:fci", alpha=float(name[4:])) for name in FCI_ENTRIES),
    _causal_learn("pc-0.01", "intaglio.bench.discover.peers:pc", slow=True, alpha=0.01),
)
"""SPOT with either posterior, without one, with masks alone, with weights alone, and with posteriors that say nothing;
peers."""


def pag_entries(names: Sequence[str], quick: bool) -> tuple[Entry, ...]:
    """Entries by name; without names all of them, or with `quick` SPOT, ABIC and FCI.

    Raises:
        BadInput: no entry has one of the names.
    """
    by = {entry.name: entry for entry in PAG_ENTRIES}
    if unknown := [name for name in names if name not in by]:
        raise BadInput(f"there is no method of PAGs called {unknown[0]!r}; choose from: {', '.join(by)}")
    if names:
        return tuple(by[name] for name in dict.fromkeys(names))
    return tuple(entry for entry in PAG_ENTRIES if not (quick and entry.slow))


def fci(values: Float[ndarray, "n d"], discrete: bool, alpha: float) -> Int8[ndarray, "d d"]:
    """FCI of causal-learn, by Fisher's z at the level `alpha`; marks as `Graph.marks`."""
    from causallearn.search.ConstraintBased.FCI import fci as run  # pyright: ignore[reportMissingImports]

    found, _ = run(np.asarray(values, np.float64), "fisherz", alpha, verbose=False, show_progress=False)
    return marks_from_codes(found.graph)
