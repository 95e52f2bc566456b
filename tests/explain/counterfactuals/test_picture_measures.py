import numpy as np
import pytest
import torch

from intaglio.errors import BadInput
from intaglio.explain.counterfactuals.picture_measures import MEASURES, measured_attribute


def squares(sides, light, background=1.0):
    pixels = torch.full((len(sides), 3, 20, 20), background)
    for k, side in enumerate(sides):
        pixels[k, :, 5 : 5 + side, 3 : 3 + side] = light[k]
    return pixels


@pytest.mark.parametrize("background", [1.0, 0.0])
def test_ink_is_what_differs_from_the_border(background):
    pixels = squares([10, 4], [0.5, 0.7], background)
    found = {name: measure(pixels).tolist() for name, measure in MEASURES.items()}
    assert found["ink-area"] == pytest.approx([0.25, 0.04])
    assert found["ink-side"] == pytest.approx([0.5, 0.2])
    assert found["ink-brightness"] == pytest.approx([0.5, 0.7])
    assert found["brightness"] == pytest.approx([0.25 * 0.5 + 0.75 * background, 0.04 * 0.7 + 0.96 * background])


def test_grain_is_no_ink_and_no_ink_is_no_fault():
    grain = 1 - 0.1 * torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    assert MEASURES["ink-area"](grain).tolist() == [0]
    assert MEASURES["ink-brightness"](grain).tolist() == [0]


def test_the_line_to_the_tables_units_is_that_of_least_squares():
    pixels = squares([4, 8, 10], [0.5] * 3)
    sides = np.array([0.2, 0.4, 0.5])
    exact = measured_attribute("ink-side", pixels, 100 - 30 * sides)
    assert (exact.slope, exact.offset, exact.fit) == pytest.approx((-30, 100, 1), abs=1e-4)
    assert exact(pixels).tolist() == pytest.approx((100 - 30 * sides).tolist(), abs=1e-4)
    loose = measured_attribute("ink-side", pixels, np.array([0.0, 1.0, 0.0]))
    assert loose.fit == pytest.approx(np.corrcoef(sides, [0, 1, 0])[0, 1] ** 2, abs=1e-4)
    for measure, words in (("ink", "no measure 'ink'; choose from: ink-area"), ("ink-brightness", "same in all")):
        with pytest.raises(BadInput, match=words):
            measured_attribute(measure, pixels, sides)
