"""Numbers of the attributes of pictures, in the units of their table and scaled to [0, 1]."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.explain.picture_columns import read_labels
from intaglio.printable import one_line


@dataclass(frozen=True, eq=False)
class AttributeTable:
    """Numbers of every attribute for pictures, of which some may have none.

    Raises `BadInput` for numbers that are not finite, and for an attribute that is the same in every picture.
    """

    names: tuple[str, ...]
    values: Float[ndarray, "n d"]
    """In the table's units; a row of NaN is a picture without labels."""
    held: tuple[int, ...] = ()
    """Places of labelled pictures whose labels are not learnt, and judge what is read off."""

    def __post_init__(self) -> None:
        if not self.names or not len(self.values):
            raise BadInput("there are no attributes of pictures; give a table with a column each")
        if not len(known := self.values[self.labelled]):
            raise BadInput("no picture has a number of every attribute; give a row of these to a few of them or to all")
        for name, column in zip(self.names, known.T, strict=True):
            if not np.isfinite(column).all():
                raise BadInput(f"the attribute {one_line(name)} is not finite in every picture; give finite numbers")
            if column.min() == column.max():
                raise BadInput(f"the attribute {one_line(name)} is {column[0]:g} in every picture; leave it out")

    @cached_property
    def labelled(self) -> Bool[ndarray, "n"]:
        """Pictures with labels."""
        return np.asarray(~np.isnan(self.values).all(1))

    @cached_property
    def taught(self) -> Bool[ndarray, "n"]:
        """Pictures whose labels are learnt."""
        taught = self.labelled.copy()
        taught[list(self.held)] = False
        return taught

    @cached_property
    def low(self) -> Float[ndarray, "d"]:
        """Least value of each attribute."""
        return self.values[self.labelled].min(0)

    @cached_property
    def range(self) -> Float[ndarray, "d"]:
        """Greatest value less the least."""
        return self.values[self.labelled].max(0) - self.low

    def labels(self) -> Float[Tensor, "n d"]:
        """Values to learn, scaled; NaN where a picture has none, or is held out."""
        return self.scaled(np.where(self.taught[:, None], self.values, np.nan))

    def holding(self, places: Sequence[int]) -> "AttributeTable":
        """The table with some labelled pictures held out."""
        return replace(self, held=tuple(sorted(places)))

    def scaled(self, values: Float[ndarray, "m d"]) -> Float[Tensor, "m d"]:
        """Values as shares of the way from the least to the greatest of the table."""
        return torch.from_numpy((values - self.low) / self.range).float()

    def unscaled(self, shares: Float[Tensor, "m d"]) -> Float[ndarray, "m d"]:
        """The inverse of `scaled`."""
        return self.low + shares.double().cpu().numpy() * self.range

    def places(self, changes: Mapping[str, float]) -> dict[int, float]:
        """Scaled values by place. Raises `BadInput` for a name that is no attribute, and for none at all."""
        if not changes:
            raise BadInput("there is no attribute to set; give --set NAME=VALUE")
        if unknown := [name for name in changes if name not in self.names]:
            known = ", ".join(map(one_line, self.names))
            raise BadInput(f"{one_line(unknown[0])} is no attribute of the graph; it has: {known}")
        found = {self.names.index(name): value for name, value in changes.items()}
        return {k: float((value - self.low[k]) / self.range[k]) for k, value in found.items()}


def read_attributes(path: Path, names: Sequence[str], attributes: Sequence[str]) -> AttributeTable:
    """Columns of a CSV file as numbers, for pictures of these names; further columns and rows are left out.

    A picture without a row, or with an empty cell in it, has no labels. Raises `BadInput` for a file that is no such
    table, for a column that it lacks, and for cells that are no numbers.
    """
    table = read_labels(path, names)
    if missing := [name for name in attributes if name not in table]:
        few = ", ".join(map(one_line, table))
        raise BadInput(f"{path} has no column {one_line(missing[0])}, which the graph names; it has: {few}")
    columns = []
    for name in attributes:
        for picture, cell in zip(names, table[name], strict=True):
            if cell and not _is_number(cell):
                said = one_line(repr(cell))
                raise BadInput(
                    f"{path} has {said} as {one_line(name)} of {one_line(picture)}; give a number, or leave it empty"
                )
        columns.append([float(cell or "nan") for cell in table[name]])
    values = np.array(columns, np.float64).T.copy()
    values[np.isnan(values).any(1)] = np.nan
    return AttributeTable(tuple(attributes), values)


def _is_number(cell: str) -> bool:
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False
