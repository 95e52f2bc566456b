"""Differential privacy of noisy steps: epsilon spent, the noise for a wanted one, and what an attack can then reach.

A step adds N(0, sigma^2 C^2) to a sum over records of vectors of norm at most C, each record being in it with
probability q by itself (Poisson). Data sets are neighbours where one holds one record more than the other.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from scipy.optimize import root_scalar
from scipy.special import log_ndtr, ndtr, ndtri

from intaglio.errors import BadInput, require

Accountant = Literal["pld", "rdp", "closed-form"]
"""`pld`: the privacy loss distribution, tight; `rdp`: Renyi divergences, an upper bound; `closed-form`: exact, of full
batches alone."""
NEEDED = "accounting of Poisson batches needs dp-accounting; install it: pip install 'intaglio[privacy]'"
HIGHEST_EPSILON = 100.0
"""Above it a guarantee says nothing, and its accounting grows without end."""
LEAST_SIGMA = 0.1
"""Below it a single step spends more than any useful epsilon."""
PRECISION = 1e-3
"""Relative width to which the noise for a wanted epsilon is found, always on the private side."""


@dataclass(frozen=True, kw_only=True)
class NoisySteps:
    """The rate q, noise sigma and number of steps of a training, on which its privacy depends."""

    rate: float = 1.0
    """Probability q in (0, 1] that a record is in a step; 1 is a full batch."""
    sigma: float
    """Standard deviation of the noise in units of the clipping bound, above 0."""
    steps: int
    """Steps, at least 1."""

    def __post_init__(self) -> None:
        require(0 < self.rate <= 1, f"rate must lie in (0, 1], not {self.rate}")
        require(0 < self.sigma < math.inf, f"sigma must be above 0, not {self.sigma}")
        require(self.steps >= 1, f"steps must be at least 1, not {self.steps}")

    @property
    def mu(self) -> float:
        """The mu of Gaussian differential privacy (arXiv 1905.02383) of all steps, where each takes every record."""
        return math.sqrt(self.steps) / self.sigma


def gaussian_delta(epsilon: float, mu: float) -> float:
    """Delta in [0, 1] of a mu-GDP mechanism: Phi(mu/2 - eps/mu) - e^eps Phi(-mu/2 - eps/mu) (arXiv 1805.06530)."""
    # By logarithms, since e^eps overflows where the tail vanishes.
    return float(ndtr(mu / 2 - epsilon / mu) - math.exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu)))


def gaussian_epsilon(delta: float, mu: float) -> float:
    """The least epsilon, 0 or more, at which a mu-GDP mechanism has at most `delta` in (0, 1)."""
    if gaussian_delta(0.0, mu) <= delta:
        return 0.0
    most = mu**2 / 2 + mu * math.sqrt(2 * math.log(1 / delta)) + 1
    return root_scalar(lambda epsilon: gaussian_delta(epsilon, mu) - delta, bracket=(0.0, most), xtol=1e-12).root


def epsilon_spent(made: NoisySteps, delta: float, accountant: Accountant = "pld") -> float:
    """Epsilon of all steps at `delta` in (0, 1); full batches are exact by all but `rdp`. Infinite above 100 by `pld`.

    Raises `BadInput` where dp-accounting is needed and missing, `ValueError` for Poisson batches in closed form.
    """
    require(0 < delta < 1, f"delta must lie in (0, 1), not {delta}")
    if accountant != "rdp" and made.rate == 1:
        return gaussian_epsilon(delta, made.mu)
    require(accountant != "closed-form", "closed-form accounts for full batches alone; take pld for a rate below 1")
    if accountant == "pld" and made.sigma < LEAST_SIGMA:
        return math.inf
    library = _library()
    counted = library.rdp.RdpAccountant() if accountant == "rdp" else library.pld.PLDAccountant()
    gaussian = library.GaussianDpEvent(made.sigma)
    event = gaussian if made.rate == 1 else library.PoissonSampledDpEvent(made.rate, gaussian)
    with _without_advice():
        return float(counted.compose(event, made.steps).get_epsilon(delta))


def sigma_for(epsilon: float, delta: float, *, rate: float, steps: int, accountant: Accountant = "pld") -> float:
    """The least noise, to 0.1 %, whose steps spend at most `epsilon`, in (0, 100].

    Raises as `epsilon_spent` does.
    """
    require(0 < epsilon <= HIGHEST_EPSILON, f"epsilon must lie in (0, {HIGHEST_EPSILON:g}], not {epsilon}")
    require(0 < delta < 1, f"delta must lie in (0, 1), not {delta}")

    def enough(sigma: float) -> bool:
        return epsilon_spent(NoisySteps(rate=rate, sigma=sigma, steps=steps), delta, accountant) <= epsilon

    high = 1.0
    while not enough(high):
        high *= 2
    low = high / 2
    while low >= LEAST_SIGMA and enough(low):
        high, low = low, low / 2
    while high > low * (1 + PRECISION):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


@dataclass(frozen=True, kw_only=True)
class PrivacyReport:
    """The guarantee of a training: (epsilon, delta)-differential privacy of each record, all tries included."""

    epsilon: float
    """Of all tries together, by basic composition: tries times the epsilon of one at delta / tries."""
    delta: float
    """Of all tries together, in (0, 1)."""
    accountant: Accountant
    tries: int
    """Trainings on the same records from which this one was chosen, itself included."""
    rate: float
    """Probability in (0, 1] that a record is in a step."""
    sigma: float
    """Noise in units of the clipping bound."""
    steps: int
    records: int
    """Records that the guarantee is for, each by itself; one that stands twice is protected at twice the epsilon."""

    @classmethod
    def of(
        cls, made: NoisySteps, *, delta: float, records: int, tries: int = 1, accountant: Accountant = "pld"
    ) -> "PrivacyReport":
        """The guarantee of `tries` trainings of the same noise. Raises as `epsilon_spent` does."""
        require(tries >= 1, f"tries must be at least 1, not {tries}")
        used: Accountant = "closed-form" if made.rate == 1 and accountant == "pld" else accountant
        epsilon = tries * epsilon_spent(made, delta / tries, used)
        return cls(
            epsilon=epsilon,
            delta=delta,
            accountant=used,
            tries=tries,
            rate=made.rate,
            sigma=made.sigma,
            steps=made.steps,
            records=records,
        )

    def sentence(self) -> str:
        """The guarantee in words."""
        tries = "" if self.tries == 1 else f", {self.tries} tries included"
        batches = "full batches" if self.rate == 1 else f"Poisson batches at rate {self.rate:.3g}"
        return (
            f"({self.epsilon:.3g}, {self.delta:.2g})-differentially private for each of {self.records} pictures"
            f"{tries}: {self.steps} steps of {batches}, noise {self.sigma:.3g} times the clipping bound, by "
            f"{self.accountant}"
        )


def highest_true_positive_rate(mu: float, false_positive_rate: float) -> float:
    """The most that any membership attack on a mu-GDP training reaches: Phi(mu + Phi^-1(rate)), rate in [0, 1]."""
    return float(ndtr(mu + ndtri(false_positive_rate)))


@contextmanager
def _without_advice() -> Iterator[None]:
    """While the block runs the library does not tell of orders that it leaves out, which only loosens its bound."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _library() -> Any:
    try:
        import dp_accounting
        import dp_accounting.pld
        import dp_accounting.rdp
    except ImportError as error:
        raise BadInput(NEEDED) from error
    return dp_accounting
