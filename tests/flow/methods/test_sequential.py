"""Sequential decoding: one patch a pass."""

import torch

from flow_scenes import Sequential, inverted_by_hand, latents, unit

SMALL = {"batch": 2}
BAD = {"batch": 0}
PIECES = {"batch": 1}


def test_every_patch_after_the_first_takes_one_pass_of_one_patch():
    model, labels = unit(spread=0.3), torch.tensor([0, -1, 2])
    z = latents(model, 3)
    found = Sequential()(model, z, labels=labels, denoise=False)
    torch.testing.assert_close(found.patches, inverted_by_hand(model, z, labels))
    assert [(block.passes, block.token_passes) for block in found.report.blocks] == [(15, 45)] * 3
