import pytest
import torch

from explain_scenes import additive, pictures
from intaglio.explain.methods.occlusion import HiddenSquares

SMALL = {"window": 8, "stride": 8}
BAD = {"stride": 0}
PIECES = {"batch": 1}


def test_a_sum_gives_each_square_its_own_term():
    terms = torch.tensor([0.3, 0.9, -0.4, 0.5])
    method = HiddenSquares(window=8, stride=8, blank="white")
    found = method.attributed(additive(terms), pictures(1).pixels[0], 0, "a")
    torch.testing.assert_close(found.map[::15, ::15].flatten(), terms)
    torch.testing.assert_close(found.map[:8, :8], torch.full((8, 8), 0.3))


def test_places_of_the_square_are_counted():
    assert HiddenSquares(window=8, stride=4).passes(64) == 226
    with pytest.raises(ValueError, match="stride must be 1 to the window's 4"):
        HiddenSquares(window=4, stride=5)
