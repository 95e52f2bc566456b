import pytest
import torch

import tiny
from direction_scenes import planted_walks
from intaglio.errors import BadInput
from intaglio.explain.directions.methods.h_space import HSpaceDirections
from intaglio.models.diffusion.loading import load_model

SMALL = {"samples": 6, "batch": 2, "steps": 2, "count": 1}
BAD = {"count": 0}
PIECES = {"batch": 1}


@pytest.mark.parametrize("joint", [False, True])
def test_two_planted_factors_are_found_with_their_deviations_at_every_step(joint):
    """h_t = a_t (3 z_1 u_1 + z_2 u_2) + noise: components u_1, u_2, of deviations 3 a_t and a_t."""
    source = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(12, 2, generator=source)).Q.T
    factors = torch.randn(200, 2, generator=source)
    factors = torch.linalg.qr(factors - factors.mean(0)).Q * 199**0.5  # uncorrelated, of deviation 1
    sizes = torch.tensor([1.0, 2.0, -0.5])
    plane = (factors * torch.tensor([3.0, 1.0])) @ axes
    values = sizes[:, None] * plane[:, None] + 1e-3 * torch.randn(200, 3, 12, generator=source)
    found = HSpaceDirections(count=2, joint=joint)
    shifts, shares = found.shifts(planted_walks(values.unflatten(2, (3, 2, 2))), {}, None)
    rows = shifts.flatten(2)
    cosines = torch.einsum("ksd,kd->ks", rows, axes) / rows.norm(dim=2)
    assert float(cosines.abs().min()) > 0.99
    # One sign along the steps; a component of all steps has that of each.
    along = sizes.sign() if joint else torch.ones(3)
    assert torch.equal(cosines.sign(), cosines.sign()[:, :1] * along)
    lengths = rows.norm(dim=2)
    expected = torch.tensor([[3.0], [1.0]]) * sizes.abs()
    torch.testing.assert_close(lengths, expected, rtol=1e-2, atol=1e-2)
    assert shares == pytest.approx([0.9, 0.1], abs=1e-3)


def test_a_module_that_there_is_not_is_refused_before_work(tmp_path):
    model = load_model(tiny.sd_folder(tmp_path / "base"))
    with pytest.raises(BadInput, match=r"no module 'mid_blok'; some that it has: mid_block"):
        HSpaceDirections(site="mid_blok")(model, ["cat"])
    with pytest.raises(ValueError, match="count must be 1 to a quarter of the samples, 2, not 3"):
        HSpaceDirections(samples=8, count=3)
