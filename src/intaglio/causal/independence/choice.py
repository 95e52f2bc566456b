"""The independence test that suits the columns: by name, or by their kinds and the number of rows."""

from typing import Literal

from intaglio.causal.independence.feature_test import FeatureTest
from intaglio.causal.independence.g_test import GTest
from intaglio.causal.independence.kernel_test import KernelTest
from intaglio.causal.independence.partial_correlation import PartialCorrelation
from intaglio.causal.independence.variables import IndependenceTest, Variables

TestName = Literal["kci", "rcit", "partial-correlation", "g"]
MOST_KERNEL_ROWS = 2000
"""Rows up to which the kernel test is the usual one; its time grows with their cube."""


def suitable(variables: Variables) -> TestName:
    """`g` for levels alone; else `kci` up to `MOST_KERNEL_ROWS` rows, and `rcit` above."""
    if all(variables.levels):
        return "g"
    return "kci" if len(variables) <= MOST_KERNEL_ROWS else "rcit"


def independence_test(name: TestName, variables: Variables, *, alpha: float, seed: int) -> IndependenceTest:
    """The test of this name on these variables. Raises `ValueError` for `g` where a column is of numbers."""
    if name == "kci":
        return KernelTest(variables)
    if name == "rcit":
        return FeatureTest(variables, alpha, seed)
    return PartialCorrelation(variables) if name == "partial-correlation" else GTest(variables)
