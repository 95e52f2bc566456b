"""Views: every pixel is shown, nothing is cropped away, mirrored borders, gradients that come back to their pixels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from intaglio.protect.model_views import mirrored, starts, tiles, whole


def source(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_indices_beyond_the_border_are_mirrored_without_repeating_it(size):
    index = torch.arange(-9, 12)
    walk = list(range(size)) + list(range(size - 2, 0, -1))  # 0 1 2 1 0 1 2 ...
    assert mirrored(index, size).tolist() == [walk[int(i) % len(walk)] for i in index]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(2, 16), st.integers(0, 2**31))
def test_tiles_cover_every_pixel(size, side, seed):
    covered = {s + k for s in starts(size, side, source(seed)) for k in range(side)}
    assert set(range(size)) <= covered
    if size <= side:
        assert len(starts(size, side, source(seed))) == 1


def test_every_offset_of_the_grid_comes_up():
    assert {starts(20, 4, source(seed))[0] for seed in range(60)} == {0, -1, -2, -3}
    assert {starts(3, 5, source(seed))[0] for seed in range(60)} == {0, -1, -2}


@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 8), (20, 13), (1, 30)])
def test_every_pixel_gets_its_gradient_back(height, width):
    picture = torch.rand(3, height, width, generator=source()).requires_grad_(True)
    views = tiles(picture, 8, source(1))
    assert views.shape[1:] == (3, 8, 8)
    (gradient,) = torch.autograd.grad(views.sum(), picture)
    # a pixel counts as often as it is shown, its mirror images among them, and at least once
    assert float(gradient.min()) >= 1
    assert float(gradient.sum()) == views.numel()


def test_a_picture_of_the_models_size_is_shown_as_it_is():
    picture = torch.rand(3, 8, 8, generator=source())
    assert torch.equal(tiles(picture, 8, source(1))[0], picture)
    assert torch.equal(whole(picture, 8, source(1))[0], picture)


def test_the_whole_picture_is_resized_as_trainers_do_and_cut_at_random():
    step = torch.zeros(3, 32, 64)
    step[:, :, 32:] = 1.0
    cuts = torch.cat([whole(step, 8, source(seed)) for seed in range(40)])
    assert cuts.shape == (40, 3, 8, 8)
    means = cuts.mean((1, 2, 3))
    assert float(means.min()) < 0.05
    assert float(means.max()) > 0.95
    enlarged = whole(torch.full((3, 3, 4), 0.5), 8, source())
    torch.testing.assert_close(enlarged, torch.full((1, 3, 8, 8), 0.5))
    assert whole(torch.rand(3, 100, 33), 16, source()).shape == (1, 3, 16, 16)
