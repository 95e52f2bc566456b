"""The radius that votes of noisy copies prove."""

from scipy.stats import beta, norm


def certified_radius(count: int, votes: int, sigma: float, alpha: float) -> float | None:
    """The product sigma Phi^-1(p), p the lower bound of a vote's probability; None where p is not above 1/2.

    Args:
        count: votes for the class, 0 to `votes`.
        votes: all of them, 1 or more.
        sigma: standard deviation of the noise.
        alpha: of the one-sided interval of Clopper and Pearson, in (0, 1).
    """
    bound = float(beta.ppf(alpha, count, votes - count + 1)) if count else 0.0
    return None if bound <= 0.5 else sigma * float(norm.ppf(bound))
