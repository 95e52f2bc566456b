import pytest
import torch

import tiny


@pytest.mark.parametrize("build", [tiny.sd_pipeline, tiny.sdxl_pipeline])
def test_a_seed_fixes_the_weights_and_leaves_the_global_generator_alone(build):
    before = torch.random.get_rng_state()
    first, again, other = (build(seed).unet.conv_in.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())
