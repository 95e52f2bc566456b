import pytest
import torch

from explain_scenes import pictures, planted, untrained
from intaglio.explain.methods.integrated_gradients import PathGradients

SMALL = {"steps": 4}
BAD = {"steps": 0}
PIECES = {"batch": 3}


def test_a_linear_score_gives_slope_times_difference_and_a_square_its_half_way_slope():
    slope = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0))
    pixels = pictures(1).pixels[0]
    method = PathGradients(steps=8, blank="white")
    found = method.attributed(planted(lambda x: (x * slope).flatten(1).sum(1)), pixels, 0, "a")
    torch.testing.assert_close(found.map, (slope * (pixels - 1)).sum(0), atol=1e-4, rtol=0)
    # f = (w x)^2: the integral of 2 (w b + a w d) da is w b + w x.
    small = slope / 50
    found = method.attributed(planted(lambda x: (x * small).flatten(1).sum(1).square()), pixels, 0, "a")
    along = float((small * (1 + pixels)).sum())
    torch.testing.assert_close(found.map, (small * (pixels - 1) * along).sum(0), atol=1e-4, rtol=0)


def test_the_map_adds_up_to_the_difference_from_the_blank():
    scored, pixels = untrained(), pictures(1).pixels[0]
    found = PathGradients(steps=100, blank="white").attributed(scored, pixels, 1, "a")
    with torch.no_grad():
        ends = scored.score(torch.stack([pixels, torch.ones_like(pixels)]), 1)
    assert float(found.map.sum()) == pytest.approx(float(ends[0] - ends[1]), abs=1e-3)
