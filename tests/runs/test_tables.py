import math

from intaglio.runs.tables import missing, rows_csv, without_nan


def test_cells_without_a_value_are_empty():
    assert rows_csv([{"a": 1, "b": None}, {"a": math.nan, "c": 2}], ["a", "b"]) == "a,b\n1,\n,\n"
    assert missing(None)
    assert missing(math.nan)
    assert not missing(0)
    assert not missing("")


def test_what_json_cannot_hold_becomes_none():
    assert without_nan({"x": (math.nan, 1, True, "s"), "y": math.inf}) == {"x": [None, 1, True, "s"], "y": None}
