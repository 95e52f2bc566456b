"""Chances of a check by lot: of N pictures, F of them fakes, r are drawn without putting back.

The number of fakes among those is hypergeometric, so that none is met with a chance of C(N - F, r) / C(N, r).
"""

from scipy.stats import hypergeom


def miss_chance(pictures: int, fakes: int, checked: int) -> float:
    """The chance that none of the fakes is among the checked, in [0, 1].

    Args:
        pictures: N, 1 or more.
        fakes: F, 0 to N.
        checked: r, 0 to N.
    """
    return float(hypergeom.pmf(0, pictures, fakes, checked))


def most_fakes(pictures: int, found: int, checked: int, level: float = 0.95) -> int:
    """The largest number of fakes among all pictures with which so few are found with a chance above 1 - level.

    With confidence `level` there are no more (the exact upper limit, as of Clopper and Pearson, without putting back).

    Args:
        pictures: N, 1 or more.
        found: fakes among the checked, 0 to r.
        checked: r, 0 to N.
        level: in (0, 1).
    """
    possible = range(found, pictures - (checked - found) + 1)
    return max(fakes for fakes in possible if hypergeom.cdf(found, pictures, fakes, checked) > 1 - level)


def needed_checks(pictures: int, fakes: int, level: float = 0.95) -> int:
    """The fewest pictures to check so that one of `fakes` fakes, 1 or more, is among them with a chance of `level`."""
    enough = (checked for checked in range(pictures + 1) if miss_chance(pictures, fakes, checked) <= 1 - level)
    return next(enough)
