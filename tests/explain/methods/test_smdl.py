import pytest
import torch

from explain_scenes import additive, pictures
from intaglio.explain.methods.smdl import SMDL

SMALL = {"regions": 9, "cut": "grid", "chosen": 4}
BAD = {"chosen": 0}
PIECES = {"batch": 2}


def test_the_first_regions_are_those_that_add_most_and_the_rest_has_none():
    found = SMDL(regions=4, cut="grid", chosen=2, confidence=0.0, effectiveness=0.0, blank="white").attributed(
        additive(torch.tensor([0.3, 0.9, 0.1, 0.5])), pictures(1).pixels[0], 0, "a"
    )
    assert found.order == (1, 3)
    assert float(found.map[0, -1]) == 1.0
    assert float(found.map[0, 0]) == float(found.map[-1, 0]) == 0.0


def test_one_term_must_count():
    with pytest.raises(ValueError, match="must be above 0"):
        SMDL(confidence=0.0, effectiveness=0.0, consistency=0.0, collaboration=0.0)
