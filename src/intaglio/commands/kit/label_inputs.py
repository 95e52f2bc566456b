"""Inputs of commands that take one column of a table of labels, and groups of pictures that belong together."""

from dataclasses import dataclass
from pathlib import Path

from intaglio.errors import BadInput
from intaglio.printable import one_line


@dataclass(frozen=True, kw_only=True)
class ReadsLabels:
    """A command about one label of each picture."""

    labels: Path
    """Labels of the pictures: a CSV file with a column picture and others, such as kind."""
    column: str = ""
    """Column of the labels that is named, such as kind; empty takes the only one beside that of --group."""
    group: str = ""
    """Column of the labels by which pictures belong together, such as twins of one name; no two pictures of a group are
    on both sides of a split into parts that are learnt and parts that are asked about."""

    def label_texts(self, names: list[str]) -> tuple[str, list[str], list[str] | None]:
        """The column's name, its texts and the groups. Raises `BadInput` for columns that there are not."""
        from intaglio.explain.picture_columns import read_labels

        found = read_labels(self.labels, names)
        few = ", ".join(one_line(name) for name in found)
        for flag, given in (("--group", self.group), ("--column", self.column)):
            if given and given not in found:
                raise BadInput(f"{self.labels} has no column {one_line(given)} for {flag}; it has: {few}")
        if self.column and self.column == self.group:
            raise BadInput(f"--column and --group are both {one_line(self.group)}; name another column of labels")
        left = [name for name in found if name != self.group]
        if not self.column and len(left) != 1:
            raise BadInput(f"{self.labels} has {len(left)} columns of labels ({few}); name one by --column")
        column = self.column or left[0]
        return column, found[column], found[self.group] if self.group else None
