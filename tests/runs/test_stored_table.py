"""The base of results: frame, notebook, storing, and the sentence for a damaged file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.runs.stored_table import StoredTable


@dataclass(frozen=True, eq=False)
class Weighed(StoredTable):
    file: ClassVar[str] = "weighed.safetensors"
    table: ClassVar[str] = "weighed.csv"
    remedy: ClassVar[str] = "the scale is read again"

    weights: dict[str, float]

    @property
    def heading(self) -> str:
        return "Weighed <things>"

    @property
    def columns(self) -> list[str]:
        return ["thing", "weight"]

    def rows(self) -> list[dict[str, Any]]:
        return [{"thing": name, "weight": weight} for name, weight in self.weights.items()]

    def figures(self) -> dict[str, Any]:
        return {"things": len(self.weights)}

    def _parts(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        return {"weights": torch.tensor(list(self.weights.values()))}, {"things": list(self.weights)}

    @classmethod
    def _of(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> "Weighed":
        return cls(dict(zip(about["things"], tensors["weights"].tolist(), strict=True)))


def test_the_first_column_names_the_rows_of_the_frame_and_the_file():
    frame = Weighed({"salt": 2.0, "lead": 8.0}).to_frame()
    assert (frame.index.name, list(frame.index), list(frame.columns)) == ("thing", ["salt", "lead"], ["weight"])
    assert frame.loc["lead", "weight"] == 8.0


def test_a_notebook_shows_heading_figures_and_rows_as_text():
    shown = Weighed({"<salt>": 2.0})._repr_html_()
    assert "Weighed &lt;things&gt;" in shown
    assert "&lt;salt&gt;" in shown
    assert "<salt>" not in shown


def test_stored_and_read_again(tmp_path):
    Weighed({"salt": 2.0, "lead": 8.0}).save(tmp_path)
    again = Weighed.load(tmp_path)
    assert again is not None
    assert again.weights == {"salt": 2.0, "lead": 8.0}
    assert (tmp_path / "weighed.csv").read_text() == "thing,weight\nsalt,2.0\nlead,8.0\n"


def test_a_folder_without_the_file_has_no_result(tmp_path):
    assert Weighed.load(tmp_path) is None


def test_parts_that_do_not_fit_are_told_with_the_remedy(tmp_path, monkeypatch):
    whole = Weighed({"salt": 2.0})
    monkeypatch.setattr(Weighed, "_parts", lambda self: ({"weights": torch.zeros(2)}, {"things": ["salt"]}))
    whole.save(tmp_path)
    with pytest.raises(BadInput, match=r"weighed.safetensors is damaged .*; delete it, and the scale is read again"):
        Weighed.load(tmp_path)
