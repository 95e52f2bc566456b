import pytest
import torch

from intaglio.shrink.code_grid import CodeGrid, grid_of


def weight(rows=5, columns=48, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def error(w, term):
    return (term.unpack() - w).abs().pow(2.4).sum(1)


def rounded(w, scale, zero, bits):
    """One row on a grid, number by number."""
    return torch.tensor([scale * (min(2**bits - 1, max(0, round(float(x) / scale) + zero)) - zero) for x in w])


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_grid_is_the_best_of_all_shares_tried_one_by_one(bits):
    w = weight(2) + 0.5
    found = grid_of(w, bits, 0, symmetric=False)
    for row, value in zip(w, error(w, found.nearest(w)), strict=True):
        low, high = min(0.0, float(row.min())), max(0.0, float(row.max()))
        tried = []
        for share in range(20, 101):
            scale = float(torch.tensor((high - low) * share / 100 / (2**bits - 1)).half())
            zero = min(2**bits - 1, round(-low * share / 100 / scale))
            tried.append(float((rounded(row, scale, zero, bits) - row).abs().pow(2.4).sum()))
        assert float(value) == pytest.approx(min(tried), rel=1e-3)


def test_a_row_of_one_sign_uses_all_codes_on_its_side():
    """Weights from 0 to 1 in 4 bits: about 1/15 between two values, where a symmetric grid has 1/7."""
    w = torch.linspace(0, 1, 301)[None]
    found = grid_of(w, 4, 0, symmetric=False)
    assert found.zero.flatten().tolist() == [0]
    assert float(found.scales) == pytest.approx(1 / 15, rel=0.05)
    assert error(w, found.nearest(w)) < 0.3 * error(w, grid_of(w, 4, 0, symmetric=True).nearest(w))


def test_zero_stays_zero_and_a_row_of_zeros_too():
    w = weight(3)
    w[0] = 0
    w[1, ::2] = 0
    found = grid_of(w, 3, 8, symmetric=False).nearest(w).unpack()
    assert (found[0] == 0).all()
    assert (found[1, ::2] == 0).all()


def test_groups_have_grids_of_their_own():
    w = torch.cat([weight(4, 16), 20 * weight(4, 16, 1)], 1)
    whole = grid_of(w, 4, 16, symmetric=False)
    parts = [grid_of(half.contiguous(), 4, 0, symmetric=False) for half in w.split(16, 1)]
    assert torch.equal(whole.scales, torch.cat([one.scales for one in parts], 1))
    assert torch.equal(whole.zeros, torch.cat([one.zeros for one in parts], 1))


def test_a_grid_without_zeros_is_symmetric():
    grid = CodeGrid(torch.tensor([[0.25]]).half(), 3)
    found = grid.nearest(torch.tensor([[-9.0, -0.3, 0.1, 0.3, 9.0]]))
    assert found.unpack().tolist() == [[-1.0, -0.25, 0.0, 0.25, 0.75]]
    assert found.zeros is None
