"""Hashes of the content of rows."""

import numpy as np
from jaxtyping import Float, Int, UInt64
from numpy import ndarray

STEP, FIRST, SECOND = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], np.uint64)
"""Constants of SplitMix64 (G. Steele, D. Lea, C. Flood, 2014)."""


def hash_of_rows(codes: Int[ndarray, "n d"], *, salted: bool) -> UInt64[ndarray, "n"]:
    """A sum of hashes of the cells of each row, which tells the columns apart where it is salted."""
    total = np.zeros(len(codes), np.uint64)
    for k, column in enumerate(codes.T):
        total += _mixed(np.ascontiguousarray(column).view(np.uint64)) * np.uint64(2 * k + 1 if salted else 1)
    return total


def content_hash(values: Float[ndarray, "n d"]) -> UInt64[ndarray, "n"]:
    """A hash of each row by the ranks of its cells, which knows neither the order of rows and columns nor units."""
    ranks = [np.unique(column, return_inverse=True)[1].astype(np.int64) for column in values.T]
    return hash_of_rows(np.stack(ranks, 1), salted=False)


def _mixed(codes: UInt64[ndarray, "n"]) -> UInt64[ndarray, "n"]:
    """SplitMix64's output for each code as its state, modulo 2⁶⁴."""
    found = codes + STEP
    found = (found ^ (found >> np.uint64(30))) * FIRST
    found = (found ^ (found >> np.uint64(27))) * SECOND
    return found ^ (found >> np.uint64(31))
