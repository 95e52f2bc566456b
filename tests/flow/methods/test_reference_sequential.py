"""The published sequential decoding: the same numbers, from lists that are joined at every step."""

import torch

from flow_scenes import ReferenceSequential, Sequential, latents, unit
from intaglio.flow.methods.reference_sequential import ListCache

SMALL = {"batch": 2}
BAD = {"batch": 0}
PIECES = {"batch": 1}


def test_it_makes_the_steps_of_sequential_decoding():
    model = unit(spread=0.3)
    z = latents(model, 3)
    one, two = (decoder(model, z, denoise=False) for decoder in (ReferenceSequential(), Sequential()))
    torch.testing.assert_close(one.patches, two.patches)
    assert [block.passes for block in one.report.blocks] == [block.passes for block in two.report.blocks]


def test_keys_and_values_are_joined_in_the_order_of_the_patches():
    cache, parts = ListCache(), torch.randn(2, 4, 1, 3, 1, 5)
    for at in range(4):
        keys, values = cache.update(at, parts[0, at], parts[1, at])
    assert torch.equal(keys, torch.cat(list(parts[0]), 2))
    assert torch.equal(values, torch.cat(list(parts[1]), 2))
