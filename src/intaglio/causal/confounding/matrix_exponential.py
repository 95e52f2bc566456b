"""exp(A) - 1 of batches of matrices, to full relative precision where A is small, and its derivative."""

from jaxtyping import Float64
from torch import Tensor

LARGEST_NORM = 0.25
"""Largest 1-norm of A at which its series is summed."""
Matrices = Float64[Tensor, "*b d d"]


def exponential_minus_one(matrix: Matrices) -> Matrices:
    """F = exp(A) - 1, by scaling and squaring of F itself.

    The series of A / 2^s to order 8 (relative error below 1e-10) is taken s times by F ← 2F + FF, which is
    exp(A) - 1 ↦ exp(2A) - 1. The identity is never subtracted, so that tr F keeps its digits down to the smallest
    numbers, as penalties of nearly acyclic graphs need it.
    """
    halvings = _halvings(matrix)
    grown = _series(matrix / 2**halvings)
    for _ in range(halvings):
        grown = 2 * grown + grown @ grown
    return grown


def exponential_and_derivative(matrix: Matrices, direction: Matrices) -> tuple[Matrices, Matrices]:
    """F = exp(A) - 1 and its derivative along E, lim (exp(A + tE) - exp(A)) / t.

    Both are blocks of exp([[A, E], [0, A]]) - 1; the steps of `exponential_minus_one` are taken on the two blocks.
    """
    halvings = _halvings(matrix)
    a, e = matrix / 2**halvings, direction / 2**halvings
    a2, e2 = a @ a, a @ e + e @ a
    a3, e3 = a2 @ a, a2 @ e + e2 @ a
    a4, e4 = a2 @ a2, a2 @ e2 + e2 @ a2
    upper = a / 120 + a2 / 720 + a3 / 5040 + a4 / 40320
    along = e / 120 + e2 / 720 + e3 / 5040 + e4 / 40320
    grown = a + a2 / 2 + a3 / 6 + a4 / 24 + a4 @ upper
    turned = e + e2 / 2 + e3 / 6 + e4 / 24 + a4 @ along + e4 @ upper
    for _ in range(halvings):
        turned = 2 * turned + grown @ turned + turned @ grown
        grown = 2 * grown + grown @ grown
    return grown, turned


def _series(a: Matrices) -> Matrices:
    a2 = a @ a
    a3, a4 = a2 @ a, a2 @ a2
    return a + a2 / 2 + a3 / 6 + a4 / 24 + a4 @ (a / 120 + a2 / 720 + a3 / 5040 + a4 / 40320)


def _halvings(matrix: Matrices) -> int:
    norm = float(matrix.detach().abs().sum(-2).max()) if matrix.numel() else 0.0
    halvings = 0
    while norm > LARGEST_NORM * 2**halvings:
        halvings += 1
    return halvings
