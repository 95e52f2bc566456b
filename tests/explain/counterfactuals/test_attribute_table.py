import numpy as np
import pytest
import torch

from intaglio.errors import BadInput
from intaglio.explain.counterfactuals.attribute_table import AttributeTable, read_attributes


def test_values_are_scaled_to_the_tables_range_and_back():
    table = AttributeTable(("a", "b"), np.array([[10.0, -1.0], [30.0, 1.0], [15.0, 0.0]]))
    assert table.scaled(table.values).tolist() == [[0, 0], [1, 1], [0.25, 0.5]]
    assert table.unscaled(torch.tensor([[2.0, 0.25]])).tolist() == [[50, -0.5]]
    assert table.places({"b": 0.0, "a": 20.0}) == {1: 0.5, 0: 0.5}
    assert table.places({"a": 50.0, "b": -2.0}) == {0: 2.0, 1: -0.5}  # beyond the range, as they were asked for


@pytest.mark.parametrize(
    ("values", "words"),
    [([[1.0, 2.0], [1.0, 3.0]], "a is 1 in every picture"), ([[1.0, 2.0], [float("nan"), 3.0]], "a is not finite")],
)
def test_attributes_that_cannot_be_scaled_are_refused(values, words):
    with pytest.raises(BadInput, match=words):
        AttributeTable(("a", "b"), np.array(values))


@pytest.mark.parametrize(("changes", "words"), [({}, "no attribute to set"), ({"x": 1.0}, "x is no attribute")])
def test_changes_of_no_attribute_are_refused(changes, words):
    with pytest.raises(BadInput, match=words):
        AttributeTable(("a",), np.array([[1.0], [2.0]])).places(changes)


def test_columns_are_read_by_name_for_pictures_in_their_order(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("picture,b,note,a\nx.png,1,old,2\nw.png,9,,9\ny.png,3,new,4.5\nv.png,,new,7\nu.png,1,new,nan\n")
    found = read_attributes(path, ["y.png", "x.png"], ("a", "b"))
    assert found.values.tolist() == [[4.5, 3], [2, 1]]
    assert found.labelled.all()
    few = read_attributes(path, ["z.png", "y.png", "v.png", "x.png"], ("a", "b"))  # z has no row, v an empty cell
    assert few.labelled.tolist() == [False, True, False, True]
    assert (few.low.tolist(), few.range.tolist()) == ([2, 1], [2.5, 2])
    held = few.holding([1])
    assert held.labels().isnan().all(1).tolist() == [True, True, True, False]
    assert held.labels()[3].tolist() == [0, 0]  # scaled by those held out as well
    for names, attributes, words in (
        (["x.png", "w.png"], ("a", "c"), "no column c, which the graph names; it has: b, note, a"),
        (["x.png", "w.png"], ("note",), "'old' as note of x.png"),
        (["y.png", "u.png"], ("a",), "'nan' as a of u.png"),
        (["v.png", "z.png"], ("a", "b"), "no picture has a number of every attribute"),
    ):
        with pytest.raises(BadInput, match=words):
            read_attributes(path, names, attributes)
