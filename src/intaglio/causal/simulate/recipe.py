"""`Recipe`: what kinds of graphs, mechanisms, noises and columns simulated tables are drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from intaglio.causal.simulate import mechanisms, noises, random_dags
from intaglio.causal.simulate.mechanisms import Scales


@dataclass(frozen=True)
class Recipe:
    """The settings of a simulator; the defaults mix all that there is.

    Raises:
        ValueError: a share of an unknown family, shares that are negative or all 0, a range that is empty or outside.
    """

    families: Mapping[str, float] = field(default_factory=lambda: dict(random_dags.FAMILY_SHARES))
    """Shares of the families of graphs, of `priors.FAMILIES`."""
    mechanisms: Mapping[str, float] = field(default_factory=lambda: dict(mechanisms.MECHANISM_SHARES))
    """Shares of the mechanisms, of `mechanisms.MECHANISMS`; one is drawn a table."""
    noises: Mapping[str, float] = field(default_factory=lambda: dict(noises.NOISE_SHARES))
    """Shares of the noise families, of `noises.NOISES`; one is drawn a table."""
    types: Mapping[str, float] = field(default_factory=lambda: {"continuous": 0.6, "discrete": 0.15, "mixed": 0.25})
    """Shares of tables with numbers only, levels only, or both."""
    controlled: float = 0.5
    """Share of tables in which every number has unit variance, so that no variance says where it stands."""
    explained: tuple[float, float] = (0.1, 0.9)
    """In those, the share of a variable's variance that its parents explain."""
    heteroscedastic: float = 0.1
    """Share of tables whose noise is wider or narrower by what the parents are."""
    interactions: float = 0.1
    """Share of numeric variables with two parents or more in which two of them act as a product only."""
    scales: Scales = field(default_factory=Scales)
    """Of the mechanisms' parameters."""
    bias: tuple[float, float] = (-3.0, 3.0)
    """Added to each variable of a raw table."""
    noise: tuple[float, float] = (0.2, 2.0)
    """Standard deviation of the noise in a raw table, drawn a variable."""
    level_counts: tuple[int, int] = (2, 6)
    """Fewest and most levels of a variable with levels."""
    concentrations: tuple[float, ...] = (0.1, 0.5, 1.0)
    """Of the Dirichlet rows of probability tables, one drawn a variable; a variable without parents takes 1."""
    most_parents: int = random_dags.MAX_PARENTS
    """Of one variable; random ones above that are cut from the graph."""
    standardise: bool = True
    """Numbers leave with mean 0 and variance 1; else as they were drawn."""
    shuffle: bool = True
    """Hide the causal order by a random order of the columns."""

    def with_types(self, only: str) -> "Recipe":
        """The same for tables of one type alone: continuous, discrete or mixed."""
        return replace(self, types={only: 1.0})

    def __post_init__(self):
        _check_shares("families", self.families, random_dags.FAMILIES)
        _check_shares("mechanisms", self.mechanisms, mechanisms.MECHANISMS)
        _check_shares("noises", self.noises, noises.NOISES)
        _check_shares("types", self.types, dict.fromkeys(("continuous", "discrete", "mixed")))
        for name in ("controlled", "heteroscedastic", "interactions"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {getattr(self, name)}")
        for name, low, high in (("explained", 0, 1), ("level_counts", 2, 100), ("noise", 0, float("inf"))):
            first, last = getattr(self, name)
            if not low <= first <= last <= high:
                raise ValueError(f"{name} is a range within {low} and {high}, not {first} to {last}")
        if not self.concentrations or min(self.concentrations) <= 0:
            raise ValueError(f"concentrations are above 0, not {self.concentrations}")
        if self.most_parents < 1:
            raise ValueError(f"most_parents is 1 or more, not {self.most_parents}")


def _check_shares(name: str, shares: Mapping[str, float], known: Mapping[str, object]) -> None:
    if unknown := sorted(set(shares) - set(known)):
        raise ValueError(f"{name} has no {unknown[0]!r}; there are {', '.join(known)}")
    if not shares or min(shares.values()) < 0 or sum(shares.values()) <= 0:
        raise ValueError(f"{name} need shares of 0 or more, one of them above 0, not {dict(shares)}")
