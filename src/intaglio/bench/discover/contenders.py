"""Who takes part in `intaglio bench discover`: one line each."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from intaglio.errors import BadInput

Role = Literal["ours", "peer", "baseline"]
HOME = "intaglio.bench.discover_"


@dataclass(frozen=True)
class Contender:
    """A method with its settings, and what it needs to know of it."""

    name: str
    target: str
    """`module:function`; ours take a frame and the kinds of its columns, others values and whether they are codes."""
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    role: Role = "peer"
    process: str = "ours"
    """Contenders of one process share its imports."""
    needs: tuple[str, str] = ("intaglio", "intaglio")
    """A module, and what to install where it is missing."""
    only_numbers: str = ""
    """Why it is not asked about levels; empty where it is."""
    raw: bool = False
    """It sees the scales that numbers had before they were standardised; no other does."""
    slow: bool = False
    """Not asked with --quick."""
    twin: str = ""
    """The contender that it is the same as on levels, so that the other's answer is its own."""

    @property
    def missing(self) -> str | None:
        """What to do where it cannot run here; None where it can."""
        module, package = self.needs
        if _there(module):
            return None
        return f"not installed: pip install {package}" if self.role == "peer" else f"{module} is not there"


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _ours(name: str, model: str, **settings: Any) -> Contender:
    about = {"model": model, **settings}
    return Contender(
        name, f"{HOME}ours:sicl", about, "ours", "ours", ("intaglio.causal.methods.sicl.method", "intaglio")
    )


def _causal_learn(name: str, function: str, only_numbers: str = "", twin: str = "", **settings: Any) -> Contender:
    needs, target = ("causallearn", "causal-learn"), f"{HOME}peers:{function}"
    return Contender(name, target, settings, "peer", "causal-learn", needs, only_numbers, twin=twin)


def _weights(name: str, function: str, module: str, package: str, **about: Any) -> Contender:
    why = "it weighs numbers"
    return Contender(name, f"{HOME}peers:{function}", {}, "peer", package, (module, package), why, **about)


def _baseline(name: str, function: str, only_numbers: str = "", raw: bool = False, **settings: Any) -> Contender:
    about = {"only_numbers": only_numbers, "raw": raw}
    return Contender(name, f"{HOME}baselines:{function}", settings, "baseline", "baselines", **about)


NON_GAUSSIAN = "it asks for linear equations"
SORTED = "levels have neither variance nor R²"
CONTENDERS: tuple[Contender, ...] = (
    _ours("sicl", "light"),
    _ours("axial", "axial"),
    _ours("node-edge", "node-edge", threshold="f1"),
    _ours("node-edge-0.5", "node-edge"),
    _causal_learn("pc-0.01", "pc", alpha=0.01),
    _causal_learn("pc-0.05", "pc", alpha=0.05),
    _causal_learn("ges", "ges"),
    _causal_learn("grasp-0.5", "grasp", penalty=0.5),
    _causal_learn("grasp-2", "grasp", twin="grasp-0.5", penalty=2.0),
    _causal_learn("boss-0.5", "boss", penalty=0.5),
    _causal_learn("boss-2", "boss", twin="boss-0.5", penalty=2.0),
    _causal_learn("direct-lingam", "direct_lingam", NON_GAUSSIAN),
    _weights("dagma", "dagma", "dagma", "dagma"),
    _weights("dagma-raw", "dagma", "dagma", "dagma", raw=True, slow=True),
    _weights("notears", "notears", "castle", "gcastle", slow=True),
    _baseline("empty", "empty"),
    _baseline("correlation", "correlation", "codes have no order to correlate", alpha=0.001),
    _baseline("r2-sort", "sort_and_regress", SORTED, by="r2"),
    _baseline("var-sort-raw", "sort_and_regress", SORTED, raw=True, by="variance"),
)


def chosen(names: Sequence[str], quick: bool) -> tuple[Contender, ...]:
    """The contenders of these names, or all, or all but the slow ones.

    Raises:
        BadInput: a name that no contender has.
    """
    by = {contender.name: contender for contender in CONTENDERS}
    if unknown := [name for name in names if name not in by]:
        raise BadInput(f"there is no method called {unknown[0]!r}; choose from: {', '.join(by)}")
    if names:
        return tuple(by[name] for name in dict.fromkeys(names))
    return tuple(contender for contender in CONTENDERS if not (quick and contender.slow))
