"""The entries of `intaglio bench discover`: own methods found by their files, their variants, peers, baselines."""

import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from intaglio.errors import BadInput
from intaglio.method_files import PACKAGE
from intaglio.verbs import VERBS, Method

Role = Literal["ours", "peer", "baseline"]
ROOM = "intaglio.bench.discover"
GIVES_PAG = re.compile(r'^    gives(: ClassVar\[[^\n]*\])? = "PAG"', re.MULTILINE)


def _of_dags(method: Method) -> bool:
    """Whether a method gives a class of DAGs, which the truths of these suites are; read from its source."""
    module = method.target.partition(":")[0]
    path = PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")
    return not GIVES_PAG.search(path.read_text(encoding="utf-8"))


OWN_METHODS = {name: method for name, method in VERBS["discover"].methods.items() if _of_dags(method)}
"""The methods whose results can be compared with a CPDAG."""


@dataclass(frozen=True)
class Entry:
    """A method with its settings: one row of the bench's tables."""

    name: str
    target: str
    """`module:function`; an own method's takes a frame and kinds of columns, another's values [n, d] and whether they
    are codes of levels."""
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Further keyword arguments of the function."""
    role: Role = "peer"
    process: str = "ours"
    """Entries of one name here share a worker process, and so its imports."""
    needs: tuple[str, str] = ("intaglio", "intaglio")
    """A module, and the package to install where it is missing."""
    only_numbers: str = ""
    """Reason why it is not run on levels; empty where it is."""
    raw: bool = False
    """It is given numbers on their scales before standardisation; all others are given standardised ones."""
    slow: bool = False
    """Left out with --quick."""
    twin: str = ""
    """Name of the entry that it equals on levels, whose answer is then taken for both."""
    posterior: str = ""
    """Skeleton posterior of `discover spot` that is judged on its own where the entry runs; empty for none."""

    @property
    def missing(self) -> str | None:
        """The reason why it cannot run here, with what to install; None where it can run."""
        module, package = self.needs
        if _installed(module):
            return None
        return f"not installed: pip install {package}" if self.role == "peer" else f"{module} is not there"


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _own(name: str, method: str, **settings: Any) -> Entry:
    about = {"method": OWN_METHODS[method].target, **settings}
    return Entry(name, f"{ROOM}.own_methods:discover", about, "ours")


def _causal_learn(name: str, function: str, only_numbers: str = "", twin: str = "", **settings: Any) -> Entry:
    needs, target = ("causallearn", "causal-learn"), f"{ROOM}.peers:{function}"
    return Entry(name, target, settings, "peer", "causal-learn", needs, only_numbers, twin=twin)


def _weighted_dag(name: str, function: str, module: str, package: str, **about: Any) -> Entry:
    why = "it weighs numbers"
    return Entry(name, f"{ROOM}.peers:{function}", {}, "peer", package, (module, package), why, **about)


def _baseline(name: str, function: str, only_numbers: str = "", raw: bool = False, **settings: Any) -> Entry:
    about = {"only_numbers": only_numbers, "raw": raw}
    return Entry(name, f"{ROOM}.baselines:{function}", settings, "baseline", "baselines", **about)


LINEAR_ONLY = "it asks for linear equations"
NOT_SORTABLE = "levels have neither variance nor R²"
ENTRIES: tuple[Entry, ...] = (
    *(_own(name, name) for name in OWN_METHODS),
    # The published comparison of SiCL: its network as published, and the one that predicts arrows one by one.
    _own("axial", "sicl", model="axial"),
    _own("node-edge", "sicl", model="node-edge", threshold="f1"),
    _own("node-edge-0.5", "sicl", model="node-edge"),
    _causal_learn("pc-0.01", "pc", alpha=0.01),
    _causal_learn("pc-0.05", "pc", alpha=0.05),
    _causal_learn("ges", "ges"),
    _causal_learn("grasp-0.5", "grasp", penalty=0.5),
    _causal_learn("grasp-2", "grasp", twin="grasp-0.5", penalty=2.0),
    _causal_learn("boss-0.5", "boss", penalty=0.5),
    _causal_learn("boss-2", "boss", twin="boss-0.5", penalty=2.0),
    _causal_learn("direct-lingam", "direct_lingam", LINEAR_ONLY),
    _weighted_dag("dagma", "dagma", "dagma", "dagma"),
    _weighted_dag("dagma-raw", "dagma", "dagma", "dagma", raw=True, slow=True),
    _weighted_dag("notears", "notears", "castle", "gcastle", slow=True),
    _baseline("empty", "empty"),
    _baseline("correlation", "correlation", "codes have no order to correlate", alpha=0.001),
    _baseline("r2-sort", "sort_and_regress", NOT_SORTABLE, by="r2"),
    _baseline("var-sort-raw", "sort_and_regress", NOT_SORTABLE, raw=True, by="variance"),
)


def select(names: Sequence[str], quick: bool) -> tuple[Entry, ...]:
    """Entries by name; without names all of them, or with `quick` all but the slow ones.

    Raises:
        BadInput: no entry has one of the names.
    """
    by = {entry.name: entry for entry in ENTRIES}
    if unknown := [name for name in names if name not in by]:
        raise BadInput(f"there is no method called {unknown[0]!r}; choose from: {', '.join(by)}")
    if names:
        return tuple(by[name] for name in dict.fromkeys(names))
    return tuple(entry for entry in ENTRIES if not (quick and entry.slow))
