"""SeJD: blocks patch by patch and blocks by sweeps."""

import pytest

from flow_scenes import Jacobi, SelectiveJacobi, Sequential, latents, unit
from intaglio.errors import BadInput

SMALL = {"batch": 2}
BAD = {"tau": 0.0}
PIECES = {"batch": 1}


def test_blocks_go_patch_by_patch_or_by_sweeps_as_they_are_named():
    model = unit(spread=0.3)
    found = SelectiveJacobi(tau=1e-3, sequential_blocks=(-1, 0))(model, latents(model, 2), denoise=False).report
    assert [block.method for block in found.blocks] == ["sequential", "jacobi", "sequential"]
    assert [found.blocks[at].passes for at in (0, 2)] == [15, 15]
    assert found.blocks[1].passes < 15


def test_without_sequential_blocks_it_is_uniform_jacobi_from_zeros():
    model = unit(spread=0.3)
    z = latents(model, 2)
    uniform = SelectiveJacobi(tau=1e-2, sequential_blocks=())(model, z, denoise=False).patches
    assert uniform.equal(Jacobi(tau=1e-2, guess="zeros")(model, z, denoise=False).patches)
    every = SelectiveJacobi(sequential_blocks=(0, 1, 2))(model, z, denoise=False).patches
    assert every.equal(Sequential()(model, z, denoise=False).patches)


def test_a_block_that_is_not_there_is_named():
    model = unit()
    with pytest.raises(BadInput, match="no block 3"):
        SelectiveJacobi(sequential_blocks=(3,))(model, latents(model, 1))
