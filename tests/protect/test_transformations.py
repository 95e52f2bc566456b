"""Transformations: range and size, the gradient of each, chances, and what they train for."""

import pytest
import torch

from intaglio.images.filters import jpeg
from intaglio.protect.purifiers import PURIFIERS
from intaglio.protect.transformations import TRANSFORMATIONS, seen_purifiers, transformed


def view(side=16):
    return torch.rand(1, 3, side, side + 4, generator=torch.Generator().manual_seed(0))


def source(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_it_keeps_size_and_range_and_passes_a_gradient_to_all_of_the_picture(name):
    x = view().requires_grad_(True)
    for seed in range(5):
        found = TRANSFORMATIONS[name].draw(x, source(seed)).detach()
        assert found.shape == x.shape
        assert 0 <= float(found.min()) <= float(found.max()) <= 1
    # in the middle, which no crop leaves out
    (gradient,) = torch.autograd.grad(TRANSFORMATIONS[name].draw(0.25 + x / 2, source()).sum(), x)
    assert bool((gradient[..., 6:10, 6:10] != 0).all())


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_its_strength_is_drawn_anew(name):
    one, again, other = (TRANSFORMATIONS[name].draw(view(64), source(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_jpeg_is_real_and_its_gradient_that_of_nothing_done():
    x = (view() * 255).round().div(255).requires_grad_(True)
    found = TRANSFORMATIONS["jpeg"].draw(x, source())
    quality = round(40 + 55 * float(torch.rand((), generator=source())))
    torch.testing.assert_close(found, jpeg(x.detach(), quality))
    weight = torch.rand(x.shape, generator=source(1))
    (gradient,) = torch.autograd.grad((weight * found).sum(), x)
    assert torch.equal(gradient, weight)


def test_a_crop_lies_anywhere():
    ramp = torch.linspace(0, 1, 40).expand(1, 3, 40, 40)  # brighter to the right: the first column tells the place
    firsts = {round(float(TRANSFORMATIONS["crop"].draw(ramp, source(seed))[0, 0, 20, 0]), 2) for seed in range(40)}
    downs = {
        round(float(TRANSFORMATIONS["crop"].draw(ramp.mT.contiguous(), source(seed))[0, 0, 0, 20]), 2)
        for seed in range(40)
    }
    assert len(firsts) > 4
    assert len(downs) > 4


def test_each_transformation_and_none_have_the_same_chance():
    names, x, counts = ("noise", "blur", "crop"), view(), {"none": 0}
    for seed in range(400):
        counts["none"] += int(torch.equal(transformed(x, names, source(seed)), x))
    assert 70 <= counts["none"] <= 130


def test_purifiers_that_were_trained_on_are_known_ones():
    assert seen_purifiers(("jpeg", "crop")) == ("jpeg-90", "jpeg-75", "jpeg-50")
    assert seen_purifiers(()) == ()
    assert set(seen_purifiers(tuple(TRANSFORMATIONS))) < set(PURIFIERS)
