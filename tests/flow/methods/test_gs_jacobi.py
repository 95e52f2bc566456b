"""GS-Jacobi: stale keys, the hardest block, settings that fit each other."""

import pytest
import torch

from flow_scenes import GSJacobi, Sequential, largest, latents, unit
from intaglio.errors import BadInput
from intaglio.flow.block.ranking import ranked

SMALL = {"batch": 2, "segments": (3,)}
BAD = {"other_sweeps": 0}
PIECES = {"batch": 1}


def test_stale_keys_are_what_one_sweep_too_few_leaves():
    model = unit(spread=0.3)
    z = latents(model, 2)
    exact = Sequential()(model, z, denoise=False).patches
    few = {"segments": (3,), "sweeps": (5,), "other_sweeps": 15, "epsilon": 0.0}
    fresh, stale = (GSJacobi(**few, stale=of)(model, z, denoise=False) for of in (False, True))
    assert largest(fresh.patches, exact) < 1e-10
    assert stale.report.blocks[0].passes < fresh.report.blocks[0].passes


def test_the_hardest_block_is_what_is_fitted():
    model = unit(spread=0.4)
    pictures = 2 * torch.rand(6, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1
    hardest = ranked(model, pictures)[0].block
    assert GSJacobi.fit(model, pictures) == {"hard_blocks": (hardest,)}


def test_published_segments_are_swept_to_their_end():
    model = unit(spread=0.3)
    z = latents(model, 2)
    report = GSJacobi.published()(model, z, denoise=False).report
    # 15 patches in 8 segments of one or two: at most as many sweeps as patches, none stopped by the cap before
    assert 8 <= report.blocks[0].passes <= 15
    assert [block.passes for block in report.blocks[1:]] == [10, 10]


def test_a_block_that_is_not_there_is_named():
    model = unit()
    with pytest.raises(BadInput, match="no block 7"):
        GSJacobi(hard_blocks=(7,))(model, latents(model, 1))


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("segments", {"segments": (-1,)}),
        ("sweeps", {"sweeps": (0,)}),
        ("segments", {"segments": (1, 2, 3)}),
        ("epsilon", {"epsilon": -1.0}),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(setting, values):
    with pytest.raises(ValueError, match=setting):
        GSJacobi(**values)
