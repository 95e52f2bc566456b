"""switched-off: sets of components that differ by one alone."""

import pytest
import torch

from intaglio.audit.components.methods.switched_off import SwitchedOff

SMALL = {"pictures": 8, "resamples": 100}
BAD = {"resamples": 99}
PIECES = {}


def test_the_effect_is_what_is_lost_without_it():
    target = torch.nn.functional.normalize(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    sets = {on: torch.nn.functional.normalize(target[:8] + 0.2 * (7 - on), dim=1) for on in range(8)}
    asked = []
    found = SwitchedOff(**SMALL)(tuple("abc"), lambda on: asked.append(on) or sets[on], target)
    assert asked == [0, 3, 5, 6, 7]
    for i, one in enumerate(found.components):
        assert one.effect.value == pytest.approx(found.values[7] - found.values[7 ^ 1 << i])
