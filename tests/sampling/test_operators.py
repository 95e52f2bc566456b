import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from intaglio.errors import BadInput
from intaglio.images.image_set import save_png
from intaglio.sampling.operator import Operator
from intaglio.sampling.operator_names import check_operator, exact_picture, operator_of
from intaglio.sampling.operators.gaussian_blur import GaussianBlur
from intaglio.sampling.operators.jpeg_coding import JpegCoding
from intaglio.sampling.operators.mean_pool import MeanPool

SIDE = 24
SPECS = ["mean-pool:4", "mean-pool:1", "blur:1.5", "blur:9", "mask:3,0,9,24"]


def uniform(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def smooth(side=48):
    """A picture of gradients."""
    y, x = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, side), indexing="ij")
    return torch.stack([x, y, (6 * x + 3 * y).sin() / 2 + 0.5])[None]


@pytest.mark.parametrize("spec", SPECS)
def test_a_linear_operator_has_its_transpose(spec):
    """⟨A x, y⟩ = ⟨x, Aᵀ y⟩; of the means of blocks A⁺ is factor² times that."""
    operator = operator_of(spec, None, SIDE)
    assert isinstance(operator, Operator)
    x, y = uniform(2, 3, SIDE, SIDE), uniform(2, 3, operator.side(SIDE), operator.side(SIDE), seed=1)
    scale = operator.factor**2 if isinstance(operator, MeanPool) else 1
    assert scale * float((operator.forward(x) * y).sum()) == pytest.approx(float((x * operator.back(y)).sum()))


@pytest.mark.parametrize("spec", ["mean-pool:4", "mask:3,0,9,24"])
def test_measuring_what_leads_back_gives_the_same(spec):
    """A A⁺ A = A."""
    operator = operator_of(spec, None, SIDE)
    measured = operator.forward(uniform(1, 3, SIDE, SIDE))
    assert torch.allclose(operator.forward(operator.back(measured)), measured)


def test_blur_is_that_of_a_line_mirrored_at_its_ends():
    line = uniform(1, 1, 7, 1)
    reach, sigma = 8, 2.0
    mirrored = np.pad(line.flatten().numpy(), reach, mode="symmetric")
    weights = [math.exp(-(k**2) / (2 * sigma**2)) for k in range(-reach, reach + 1)]
    expected = np.convolve(mirrored, np.array(weights) / sum(weights), mode="valid")
    assert torch.allclose(GaussianBlur(sigma).forward(line).flatten(), torch.from_numpy(expected))
    assert torch.allclose(GaussianBlur(50.0).forward(torch.full((1, 1, 3, 3), 0.7)), torch.full((1, 1, 3, 3), 0.7))


@pytest.mark.parametrize(("quality", "most"), [(20, 0.02), (50, 0.01), (90, 0.006)])
def test_jpeg_is_near_to_that_of_a_file(quality, most):
    picture = smooth()
    array = (picture[0] * 255).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", quality=quality)
    saved = torch.from_numpy(np.asarray(Image.open(file)).copy()).permute(2, 0, 1).float() / 255
    found = JpegCoding(quality).forward(torch.from_numpy(array).permute(2, 0, 1)[None].float() / 255)[0].clamp(0, 1)
    change = float((saved - picture[0]).abs().mean())
    assert float((found - saved).abs().mean()) < min(most, 0.75 * change)


def test_jpeg_has_a_gradient_and_takes_sides_that_are_no_blocks():
    pixels = smooth(20).requires_grad_(True)
    found = JpegCoding(30).forward(pixels)
    assert found.shape == pixels.shape
    found[:, 1].sum().backward()
    assert float(pixels.grad.sum()) == pytest.approx(20 * 20, rel=0.2)  # green is green, as rounding is passed over
    with pytest.raises(BadInput, match="three colours"):
        JpegCoding().forward(torch.zeros(1, 1, 16, 16))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("mean", "'mean' is not known"),
        ("mean-pool", "lacks its number"),
        ("mean-pool:0", "factor of mean-pool must be 1 to 4096"),
        ("blur:nan", "sigma of blur"),
        ("jpeg:101", "quality of jpeg"),
        ("mask:4,4,4,9", "empty box"),
    ],
)
def test_words_that_name_no_operator_are_refused(spec, words):
    with pytest.raises(ValueError, match=words):
        check_operator(spec)


def test_pictures_that_an_operator_does_not_measure_are_refused(tmp_path):
    with pytest.raises(BadInput, match="no whole number of blocks of 5"):
        operator_of("mean-pool:5", None, 16)
    with pytest.raises(BadInput, match="does not lie in a picture of 16"):
        operator_of("mask:0,0,4,17", None, 16)
    with pytest.raises(BadInput, match="leaves no pixel known"):
        operator_of("mask:0,0,16,16", None, 16)
    save_png(torch.zeros(3, 16, 16), tmp_path / "black.png")
    with pytest.raises(BadInput, match="black.png leaves no pixel known"):
        operator_of("mask", tmp_path / "black.png", 16)
    with pytest.raises(BadInput, match="has 16x16 pixels, and 8x8 are wanted.*--mask of that size"):
        operator_of("mask", tmp_path / "black.png", 8)
    for spec, mask in (("mask", None), ("blur:2", Path("mask.png"))):
        with pytest.raises(BadInput, match="needs a file, and no other takes one"):
            operator_of(spec, mask, 16)
    with pytest.raises(BadInput, match="none.png.*--measured"):
        exact_picture(tmp_path / "none.png", 8, "measured")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(BadInput, match="text.png cannot be used as --measured: it is not a PNG"):
        exact_picture(tmp_path / "text.png", 8, "measured")


def test_a_masks_white_pixels_are_known(tmp_path):
    picture = torch.zeros(3, 8, 8)
    picture[:, :, 4:] = 1.0
    save_png(picture, tmp_path / "right.png")
    operator = operator_of("mask", tmp_path / "right.png", 8)
    found = operator.forward(torch.ones(1, 3, 8, 8))
    assert torch.equal(found[0], picture)
    box = operator_of("mask:0,0,4,8", None, 8)
    assert torch.equal(box.forward(torch.ones(1, 3, 8, 8)), found)
