"""Pictures with their true classes and the value of a shortcut, such as a mark in a corner."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

Pictures = Float[Tensor, "n 3 h w"]


@dataclass(frozen=True, eq=False)
class ShortcutPictures:
    """n pictures; a class and a value of the shortcut make a cell."""

    pixels: Pictures
    truth: Int[ndarray, "n"]
    """Places of their classes."""
    values: Int[ndarray, "n"]
    """0 or 1."""
    classes: int
    """Of the classifier."""

    def __len__(self) -> int:
        return len(self.truth)

    def __getitem__(self, rows: ndarray) -> "ShortcutPictures":
        places = np.arange(len(self))[rows]
        return ShortcutPictures(
            self.pixels[torch.from_numpy(places)], self.truth[rows], self.values[rows], self.classes
        )

    @property
    def cells(self) -> Int[ndarray, "n"]:
        """Number of each picture's cell: twice the class, and the value."""
        return 2 * self.truth + self.values

    @property
    def counts(self) -> Int[ndarray, "k 2"]:
        """Pictures of each class and value."""
        return np.bincount(self.cells, minlength=2 * self.classes).reshape(self.classes, 2)

    def contrast(self, least: int = 1) -> Float[Tensor, "n"]:
        """Weights c by which sum(c s) is how far a score s rises from value 0 to 1, as a mean over classes.

        Of classes with `least` pictures of each value; all weights are 0 where there is no such class.
        """
        counts = self.counts
        both = np.asarray((counts >= least).all(1))
        sizes = np.where(both[:, None], counts, np.inf)[self.truth, self.values]
        signs = np.where(self.values == 1, 1.0, -1.0)
        return torch.from_numpy(signs / sizes / max(int(both.sum()), 1)).float()
