"""Visibility: flat areas and their borders, the floor of structural similarity."""

import torch

from intaglio.metrics.quality import ssim
from intaglio.protect.visibility import WINDOW, scaled_to_keep, share_by_contrast


def half_flat():
    picture = torch.full((1, 3, 32, 64), 0.5)
    picture[..., 32:] = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return picture


def test_flat_areas_get_their_share_and_busy_ones_all():
    share = share_by_contrast(half_flat(), 0.25)
    assert share.shape == (1, 1, 32, 64)
    torch.testing.assert_close(share[..., : 32 - WINDOW], torch.full((1, 1, 32, 32 - WINDOW), 0.25))
    assert float(share[..., 32 + WINDOW :].min()) > 0.9
    assert torch.equal(share_by_contrast(half_flat(), 1.0), torch.ones(1, 1, 32, 64))


def test_no_halo_stands_around_a_flat_area():
    # the window of a flat pixel next to the busy half sees contrast; its share stays that of the flat half all the same
    share = share_by_contrast(half_flat(), 0.25)
    assert float(share[..., :28].max()) < 0.3


def test_the_largest_scale_that_keeps_the_floor_is_taken():
    clean = (half_flat() * 255).round() / 255
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1)) * 0.2

    def rounded(scale):
        return ((clean + scale * noise).clamp(0, 1) * 255).round().to(torch.uint8)

    whole = float(ssim(rounded(1.0) / 255, clean))
    floor = (1 + whole) / 2
    found = scaled_to_keep(rounded, clean, floor)
    kept = float(ssim(found / 255, clean))
    assert floor <= kept < floor + 0.03
    assert torch.equal(scaled_to_keep(rounded, clean, 0.0), rounded(1.0))
    assert torch.equal(scaled_to_keep(rounded, clean, whole - 0.01), rounded(1.0))
    assert torch.equal(scaled_to_keep(rounded, clean, 1 - 1e-9), rounded(0.0))
