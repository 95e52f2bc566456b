"""A result of plain values, stored as JSON beside its table and read again."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

from intaglio.data_files import Fields
from intaglio.errors import BadInput
from intaglio.files import atomic_write
from intaglio.runs.plain_json import to_json
from intaglio.runs.result_table import ResultTable
from intaglio.runs.tables import rows_csv

Stored = TypeVar("Stored", bound="JsonTable")
REMEDY = "delete it, and the same command makes it again"


class JsonTable(ResultTable):
    """A dataclass of plain values: one JSON file in a run's folder, beside its rows as CSV."""

    file: ClassVar[str]
    """Name of the JSON file."""
    table: ClassVar[str]
    """Name of the CSV file."""

    @classmethod
    @abstractmethod
    def _of(cls: type[Stored], stored: Mapping[str, Any]) -> Stored:
        """The inverse of `asdict`; further keys are passed over. Raises `ValueError` where values do not fit."""

    def save(self, folder: Path) -> None:
        """Writes the table and the values into a folder, each atomically."""
        atomic_write(folder / self.table, rows_csv(self.rows(), self.columns))
        atomic_write(folder / self.file, to_json(asdict(cast(Any, self)), indent=2))

    @classmethod
    def load(cls: type[Stored], folder: Path) -> Stored | None:
        """The result stored in a run's folder; None where there is none. Raises `BadInput` for a damaged file."""
        path = Path(folder) / cls.file
        if not path.exists():
            return None
        stored = Fields.read(path, REMEDY).values
        try:
            return cls._of(stored)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise BadInput(f"{path} is damaged ({error}); {REMEDY}") from error
