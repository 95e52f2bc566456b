"""The frontier: a patch a pass at least, fewer passes at a looser tolerance."""

import pytest

from flow_scenes import Frontier, Sequential, largest, latents, unit

SMALL = {"batch": 2, "tolerance": 1e-6}
BAD = {"tolerance": -1.0}
PIECES = {"batch": 1}


@pytest.mark.parametrize("window", [1, 2, 5, 15, None])
def test_the_frontier_settles_a_patch_a_pass_at_least(window):
    model = unit(spread=0.3)
    report = Frontier(tolerance=0.0, window=window)(model, latents(model, 3), denoise=False).report
    for block in report.blocks:
        assert block.passes <= 15
        assert block.frontier == sorted(set(block.frontier))
        assert block.frontier[-1] == 15
    if window == 1:
        assert [block.passes for block in report.blocks] == [15, 15, 15]


def test_a_looser_frontier_takes_fewer_passes_and_stays_near():
    model = unit(spread=0.3)
    z = latents(model, 3)
    exact = Sequential()(model, z, denoise=False).patches
    passes, errors = [], []
    for tolerance in (1e-8, 1e-3, 1e-1):
        found = Frontier(tolerance=tolerance, window=8)(model, z, denoise=False)
        passes.append(sum(block.passes for block in found.report.blocks))
        errors.append(largest(found.patches, exact))
    assert passes == sorted(passes, reverse=True)
    assert passes[0] > passes[2]
    assert errors[0] < 1e-6
    assert errors[1] < 1e-2


@pytest.mark.parametrize(
    ("setting", "values"),
    [("window", {"window": 0}), ("warm_sweeps", {"warm_sweeps": -1}), ("coarse_sweeps", {"coarse_sweeps": -1})],
)
def test_settings_that_cannot_be_are_refused_by_name(setting, values):
    with pytest.raises(ValueError, match=setting):
        Frontier(**values)
