import pytest
import torch

from explain_scenes import SIDE, additive, pictures
from intaglio.explain.methods.lima import LiMA

SMALL = {"regions": 9, "cut": "grid", "pending": 2}
BAD = {"pending": 0}
PIECES = {"batch": 2}


def test_regions_come_in_the_order_of_what_they_add():
    """Terms of one sign: the order by p(x_S) and by 1 - p(x_{V without S}) is that of the terms."""
    terms = torch.tensor([0.3, 0.9, 0.1, 0.5])
    found = LiMA(regions=4, cut="grid", pending=1, effectiveness=0.0, blank="white").attributed(
        additive(terms), pictures(1).pixels[0], 0, "a"
    )
    assert found.order == (1, 3, 0, 2)
    corners = found.map[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.argsort(descending=True).tolist() == [1, 3, 0, 2]
    assert float(found.map.max()) == 1.0
    assert found.passes <= LiMA(regions=4, pending=1).passes(SIDE)


def test_where_the_class_falls_what_lowers_it_comes_last():
    found = LiMA(regions=4, cut="grid", pending=1, blank="white").attributed(
        additive(torch.tensor([-2.0, 3.0, 0.0, 1.0])), pictures(1).pixels[0], 0, "a"
    )
    assert (found.order[0], found.order[-1]) == (1, 0)


def test_one_term_must_count():
    with pytest.raises(ValueError, match="consistency or collaboration must be above 0"):
        LiMA(consistency=0.0, collaboration=0.0)
