import torch

from explain_scenes import additive, pictures
from intaglio.explain.methods.lime import LIME

SMALL = {"regions": 9, "cut": "grid", "samples": 40}
BAD = {"width": 0.0}
PIECES = {"batch": 7}


def test_the_slopes_of_a_sum_are_its_terms_and_the_penalty_takes_the_small_ones_away():
    terms = torch.tensor([3.0, 0.01, -2.0, 0.0])
    scored, (pixels,) = additive(terms), pictures(1).pixels
    plain = LIME(regions=4, cut="grid", samples=60, penalty=1e-6, width=10.0, blank="white").attributed(
        scored, pixels, 0, "a"
    )
    torch.testing.assert_close(64 * plain.map[::15, ::15].flatten(), terms, atol=1e-2, rtol=0)
    sparse = LIME(regions=4, cut="grid", samples=60, penalty=0.05, width=10.0, blank="white").attributed(
        scored, pixels, 0, "a"
    )
    assert float(sparse.map[0, -1]) == 0.0
    assert float(sparse.map[0, 0]) > 0 > float(sparse.map[-1, 0])
