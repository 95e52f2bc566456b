"""`Recipe`: the distribution of graphs, mechanisms, noise and columns of simulated tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from intaglio.causal.simulate import mechanisms, noises, random_dags
from intaglio.causal.simulate.mechanisms import Scales


@dataclass(frozen=True)
class Recipe:
    """The settings of the simulator; the defaults mix all families, mechanisms, noises and types of columns.

    Raises:
        ValueError: a share of an unknown family, shares that are negative or all 0, a range that is empty or outside.
    """

    families: Mapping[str, float] = field(default_factory=lambda: dict(random_dags.FAMILY_SHARES))
    """Shares of the families of graphs, by their names in `random_dags.FAMILIES`."""
    mechanisms: Mapping[str, float] = field(default_factory=lambda: dict(mechanisms.MECHANISM_SHARES))
    """Shares of the mechanisms, by their names in `mechanisms.MECHANISMS`; one is drawn per table."""
    noises: Mapping[str, float] = field(default_factory=lambda: dict(noises.NOISE_SHARES))
    """Shares of the families of noise, by their names in `noises.NOISES`; one is drawn per table."""
    types: Mapping[str, float] = field(default_factory=lambda: {"continuous": 0.6, "discrete": 0.15, "mixed": 0.25})
    """Shares of tables with numeric columns only, with levels only, or with both."""
    controlled: float = 0.5
    """Share of tables in which every numeric variable has unit variance, so that variances reveal no order."""
    explained: tuple[float, float] = (0.1, 0.9)
    """Range of the share of a variable's variance that its parents explain in those tables."""
    heteroscedastic: float = 0.1
    """Share of tables whose noise scale depends on the parents."""
    interactions: float = 0.1
    """Share of numeric variables with two parents or more, two of which act only through their product."""
    scales: Scales = field(default_factory=Scales)
    """Ranges of the mechanisms' parameters."""
    bias: tuple[float, float] = (-3.0, 3.0)
    """Range of the constant that is added to a variable of a raw table."""
    noise: tuple[float, float] = (0.2, 2.0)
    """Range of the noise's standard deviation in a raw table, drawn per variable."""
    level_counts: tuple[int, int] = (2, 6)
    """Fewest and most levels of a variable with levels."""
    concentrations: tuple[float, ...] = (0.1, 0.5, 1.0)
    """Concentrations of the Dirichlet rows of probability tables, drawn per variable; 1 for one without parents."""
    most_parents: int = random_dags.MAX_PARENTS
    """Most parents of a variable; random ones beyond are removed."""
    standardise: bool = True
    """Whether numeric columns are returned with mean 0 and variance 1."""
    shuffle: bool = True
    """Whether columns are put in a random order."""

    def with_types(self, only: str) -> "Recipe":
        """The recipe for tables of one type: continuous, discrete or mixed."""
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
