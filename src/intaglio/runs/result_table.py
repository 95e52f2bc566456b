"""A result as a table, shown as a frame and in notebooks."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from intaglio.images.notebook import result_html


class ResultTable(ABC):
    """A result with a row for each thing that it tells of."""

    @property
    @abstractmethod
    def heading(self) -> str:
        """The result in a few words, for notebooks."""

    @property
    @abstractmethod
    def columns(self) -> Sequence[str]:
        """Names of the columns; the first one has the rows' names."""

    @abstractmethod
    def rows(self) -> list[dict[str, Any]]:
        """One mapping a row; the keys are `columns`."""

    @abstractmethod
    def figures(self) -> Mapping[str, Any]:
        """Counts and means of the whole."""

    def to_frame(self) -> Any:
        """A pandas DataFrame of `rows`, indexed by the first column."""
        import pandas as pd  # only who asks for a frame waits for it

        return pd.DataFrame(self.rows(), columns=list(self.columns)).set_index(self.columns[0])

    def _thumbnails(self) -> Sequence[tuple[str, Any]]:
        """Names and pictures, as `result_html` takes them, that a notebook shows."""
        return ()

    def _repr_html_(self) -> str:
        """Figures, rows and pictures, for notebooks."""
        return result_html(self.heading, self.figures(), self.rows(), self._thumbnails())
