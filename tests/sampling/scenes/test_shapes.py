from math import pi

import numpy as np
import pytest

from intaglio.sampling.scenes.grammar import COLOURS, SHAPES
from intaglio.sampling.scenes.shapes import AREAS, CENTRES, PALETTE, coverage, template

# Area in a box of side 1: a disc; the box; half of it; five of nine equal squares.
AREA = {"circle": pi / 4, "square": 1.0, "triangle": 0.5, "cross": 5 / 9}
# Height of the centre of mass below the middle of the box: a triangle's is two thirds down from its tip.
CENTRE = {"circle": 0.0, "square": 0.0, "triangle": 2 / 3 - 1 / 2, "cross": 0.0}


@pytest.mark.parametrize("shape", SHAPES)
def test_area_and_centre_of_mass_are_those_of_the_shape(shape):
    assert AREAS[shape] == pytest.approx(AREA[shape])
    assert CENTRES[shape] == pytest.approx(CENTRE[shape])
    covered = coverage(shape, 30.3, 33.6, 24.0, 64)
    assert covered.sum() == pytest.approx(AREA[shape] * 24**2, rel=0.02)
    middles = np.arange(64) + 0.5  # of pixels; their share is taken at points 1/4 apart
    assert (covered.sum(0) * middles).sum() / covered.sum() == pytest.approx(30.3, abs=1 / 8)
    assert (covered.sum(1) * middles).sum() / covered.sum() == pytest.approx(33.6 + 24 * CENTRE[shape], abs=1 / 8)
    assert covered.min() == 0
    assert covered.max() == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_a_template_lies_where_its_area_and_centre_say(shape):
    mask = template(shape, 200.0, 21.0, 40.0, 64, 64)
    rows, columns = mask.nonzero()
    assert len(rows) == pytest.approx(200, rel=0.12)
    assert columns.mean() + 0.5 == pytest.approx(21.0, abs=0.5)
    assert rows.mean() + 0.5 == pytest.approx(40.0, abs=0.5)


def test_every_colour_has_ink_of_its_own():
    inks = np.array([1 - np.array(PALETTE[colour]) for colour in COLOURS])
    directions = inks / np.linalg.norm(inks, axis=1, keepdims=True)
    cosines = directions @ directions.T - np.eye(len(COLOURS))
    assert cosines.max() < 0.95
