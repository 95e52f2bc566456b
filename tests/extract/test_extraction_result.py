"""A stored extraction is read as it was, and an older file as far as it goes."""

import json
import math

import pytest

from intaglio.errors import BadInput
from intaglio.extract.result import ExtractionResult, NullGroups, ReturnedPicture, TrainingCoverage, TrainingMatch


def find(q: float | None, match: TrainingMatch | None = None) -> ReturnedPicture:
    numbers = {"cohesion": 0.9, "lowest": 0.8, "nearest_other": math.nan, "loss_difference": -0.25, "score": 3.45}
    return ReturnedPicture("000.png", 7, "sks", 3, **numbers, members=(7, 8, 9), q_value=q, image="i.png", match=match)


def result(**changes) -> ExtractionResult:
    whole = {
        "method": "direct",
        "reading": "drawn from the suspect",
        "finds": (find(0.05, TrainingMatch("a.png", 0.9, "t/a.png", None, 0.1)), find(0.3)),
        "drawn": 60,
        "excluded": {"blank": 2},
        "threshold": 0.75,
        "scores": (3.45, 1.0),
        "exact": True,
        "prompted": False,
        "fdr": 0.1,
        "null": NullGroups(60, (2.4,), (2,), ("c.png",)),
        "coverage": TrainingCoverage(0.8, 1, 2, 0.7, None, {"loose": 1.0, "strict": None}, (0.9,), ("000.png",)),
    }
    return ExtractionResult(**whole | changes)


def same(one: ExtractionResult, two: ExtractionResult) -> bool:
    return json.dumps(one.to_dict(), default=str) == json.dumps(two.to_dict(), default=str)


@pytest.mark.parametrize("changes", [{}, {"null": None, "finds": (find(None),)}, {"coverage": None}, {"finds": ()}])
def test_what_is_saved_is_read_again(tmp_path, changes):
    whole = result(**changes)
    whole.save(tmp_path)
    again = ExtractionResult.load(tmp_path)
    assert again is not None
    assert same(again, whole)
    assert again.statement == whole.statement
    assert len((tmp_path / "finds.csv").read_text().splitlines()) == 1 + len(whole.finds)


def test_finds_at_or_below_the_asked_rate_are_reported():
    assert result().reported == 1
    assert result(finds=(find(0.1),)).reported == 1, "at the rate itself"
    assert "1 of 2 returned pictures stand out" in result().statement
    assert "the lowest reached is 0.3" in result(finds=(find(0.3),)).statement
    assert result(null=None).reported is None
    assert [row["apart"] for row in result().rows()] == pytest.approx([math.nan, math.nan], nan_ok=True)


def test_a_file_of_before_readings_is_read_and_a_damaged_one_is_named(tmp_path):
    stored = {name: value for name, value in result().to_dict().items() if name != "reading"}
    assert ExtractionResult.from_dict(json.loads(json.dumps(stored, default=vars))).reading == "drawn"
    assert ExtractionResult.load(tmp_path) is None
    (tmp_path / "extraction.json").write_text("{")
    with pytest.raises(BadInput, match="is no readable JSON"):
        ExtractionResult.load(tmp_path)
