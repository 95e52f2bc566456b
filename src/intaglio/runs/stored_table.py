"""A result of tensors, stored beside its table and read again."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from intaglio.errors import BadInput
from intaglio.files import atomic_write
from intaglio.runs.result_table import ResultTable
from intaglio.runs.tables import rows_csv
from intaglio.runs.tensors import read_state, write_state

Stored = TypeVar("Stored", bound="StoredTable")


class StoredTable(ResultTable):
    """A result of tensors and plain values: one safetensors file in a run's folder, beside its rows as CSV."""

    file: ClassVar[str]
    """Name of the safetensors file."""
    table: ClassVar[str]
    """Name of the CSV file."""
    remedy: ClassVar[str]
    """What follows "delete it, and": how a damaged file is made again."""

    @abstractmethod
    def _parts(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        """Tensors and plain values that `_of` makes the result of."""

    @classmethod
    @abstractmethod
    def _of(cls: type[Stored], tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> Stored:
        """The inverse of `_parts`. Raises `ValueError` where the parts do not fit each other."""

    def save(self, folder: Path) -> None:
        """Writes the table and the tensors into a folder, each atomically."""
        atomic_write(folder / self.table, rows_csv(self.rows(), self.columns))
        write_state(folder / self.file, *self._parts())

    @classmethod
    def load(cls: type[Stored], folder: Path) -> Stored | None:
        """The result stored in a run's folder; None where there is none. Raises `BadInput` for a damaged file."""
        path = Path(folder) / cls.file
        read = read_state(path)
        if read is None:
            return None
        try:
            return cls._of(*read)
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            raise BadInput(f"{path} is damaged ({error}); delete it, and {cls.remedy}") from error
