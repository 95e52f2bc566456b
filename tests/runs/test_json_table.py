"""Results of plain values: stored as JSON beside their table, read again, and refused where they are damaged."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from intaglio.errors import BadInput
from intaglio.runs.json_table import JsonTable


@dataclass(frozen=True)
class Counted(JsonTable):
    file: ClassVar[str] = "counted.json"
    table: ClassVar[str] = "counted.csv"

    counts: tuple[int, ...]

    @property
    def heading(self) -> str:
        return "Counted"

    @property
    def columns(self) -> list[str]:
        return ["place", "count"]

    def rows(self) -> list[dict[str, Any]]:
        return [{"place": place, "count": count} for place, count in enumerate(self.counts)]

    def figures(self) -> dict[str, Any]:
        return {"total": sum(self.counts)}

    @classmethod
    def _of(cls, stored: Mapping[str, Any]) -> "Counted":
        return cls(tuple(int(one) for one in stored["counts"]))


def test_stored_and_read_again_beside_the_table(tmp_path):
    Counted((3, 4)).save(tmp_path)
    assert Counted.load(tmp_path) == Counted((3, 4))
    assert (tmp_path / "counted.csv").read_text().split() == ["place,count", "0,3", "1,4"]


def test_none_where_nothing_is_stored(tmp_path):
    assert Counted.load(tmp_path) is None


@pytest.mark.parametrize("stored", [{}, {"counts": 3}, {"counts": ["many"]}, {"counts": [None]}])
def test_a_damaged_file_is_refused_in_a_sentence(tmp_path, stored):
    (tmp_path / "counted.json").write_text(json.dumps(stored))
    with pytest.raises(BadInput, match=r"counted.json is damaged .*; delete it, and the same command makes it again"):
        Counted.load(tmp_path)
