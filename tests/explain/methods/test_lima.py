import pytest
import torch

from explain_scenes import SIDE, additive, pictures
from intaglio.explain.methods.lima import LiMA, _likely_lowest
from intaglio.explain.region_objective import ObjectiveWeights, RegionObjective, with_each

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


def test_the_map_falls_by_the_changes_of_both_terms():
    """p rises with each region shown and falls with each hidden: both changes count, of the same sign."""
    terms, (pixels,) = torch.tensor([0.3, 0.9, 0.1, 0.5]), pictures(1).pixels
    method = LiMA(regions=4, cut="grid", pending=1, effectiveness=0.0, blank="white")
    found = method.attributed(additive(terms), pixels, 0, "a")
    order = [1, 3, 0, 2]
    shown = torch.cat([torch.zeros(1), terms[order].cumsum(0)]).sigmoid()
    hidden = (terms.sum() - torch.cat([torch.zeros(1), terms[order].cumsum(0)])).sigmoid()
    changes = (method.consistency * shown - method.collaboration * hidden).diff().abs()
    expected = 1 - torch.cat([torch.zeros(1), changes[1:].cumsum(0)]) / changes[1:].sum()
    torch.testing.assert_close(found.map[[0, -1, 0, -1], [-1, -1, 0, 0]], expected, atol=1e-5, rtol=0)


def test_of_equal_regions_the_least_varied_goes_to_the_far_end():
    """Regions 2 and 3 look alike, so that with one of them at the far end the other adds least variety there."""
    scored = additive(torch.zeros(6 * 6))
    sets = LiMA(regions=36, cut="grid", blank="white").revealed(scored, pictures(1).pixels[0], 0)
    sets._alone = torch.eye(36)
    sets._alone[3] = sets._alone[2]
    objective = RegionObjective(sets, ObjectiveWeights(0.0, 1.0, 0.0, 0.0))
    first, second = torch.zeros(2, 36, dtype=torch.bool)
    second[2] = True
    left = [place for place in range(36) if place != 2]
    likely = _likely_lowest(objective, first, second, left, objective.values(with_each(first, left)))
    assert likely[0] == 3
