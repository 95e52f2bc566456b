"""Designed filters: banks of small kernels that were used before filters were learned."""

from collections.abc import Callable
from math import pi

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.fft import dct

Bank = Float[ndarray, "a kh kw"]


def cosines(height: int, width: int) -> Bank:
    """The orthonormal basis of the discrete cosine transform, type II, from the lowest frequency on."""
    rows, columns = (np.asarray(dct(np.eye(side), norm="ortho", axis=0)) for side in (height, width))
    order = sorted(((i, j) for i in range(height) for j in range(width)), key=lambda one: (sum(one), one))
    return np.array([np.outer(rows[i], columns[j]) for i, j in order])


def gaussian_derivatives(height: int, width: int) -> Bank:
    """Derivatives of a Gaussian up to the second order along each side, of one pixel's standard deviation."""
    y, x = (_hermites(side) for side in (height, width))
    return np.array([np.outer(one, other) for one in y for other in x])


def gabors(height: int, width: int) -> Bank:
    """Even and odd Gabor filters of four orientations, of one period across the kernel, and a Gaussian."""
    y, x = np.meshgrid(_places(height), _places(width), indexing="ij")
    envelope = np.exp(-(x**2 + y**2) / 2)
    found = [envelope]
    for turn in range(4):
        along = x * np.cos(turn * pi / 4) + y * np.sin(turn * pi / 4)
        phase = 2 * pi * along / max(height, width)
        found += [envelope * np.cos(phase), envelope * np.sin(phase)]
    return np.array(found)


def _places(side: int) -> Float[ndarray, "k"]:
    return np.arange(side) - (side - 1) / 2


def _hermites(side: int) -> list[Float[ndarray, "k"]]:
    """A Gaussian and its first two derivatives at the places of a side."""
    x = _places(side)
    bell = np.exp(-(x**2) / 2)
    return [bell, -x * bell, (x**2 - 1) * bell]


BANKS: dict[str, Callable[[int, int], Bank]] = {
    "cosines": cosines,
    "derivatives": gaussian_derivatives,
    "gabors": gabors,
}
"""Designed banks by name, of a kernel's height and width."""


def explained(rows: Float[ndarray, "n k"], bank: Float[ndarray, "a k"], most: int) -> Float[ndarray, "m"]:
    """Share of the rows' squared length that lies in the span of the best 1, 2, ... `most` filters of a bank.

    The filters are those of all rows together, chosen one after another, each the one that adds most to the span of
    those before it (orthogonal least squares); from the last that adds anything on, the share stays.
    """
    total = float((rows**2).sum())
    left, atoms = rows.copy(), bank / np.maximum(np.linalg.norm(bank, axis=1, keepdims=True), 1e-12)
    found = np.zeros(most)
    taken = 0.0
    for number in range(most):
        lengths = np.linalg.norm(atoms, axis=1, keepdims=True)
        units = np.divide(atoms, lengths, out=np.zeros_like(atoms), where=lengths > 1e-6)
        gains = ((left @ units.T) ** 2).sum(0)
        best = int(gains.argmax())
        taken += float(gains[best])
        direction = units[best]
        left -= np.outer(left @ direction, direction)
        atoms = atoms - np.outer(atoms @ direction, direction)
        found[number] = taken / total if total else 0.0
    return found
