import math
from itertools import pairwise

import pytest
import torch
from torch.nn.functional import interpolate

import tiny
from exact_draws import drawn
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet, save_png
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.calls import Calls
from intaglio.sampling.grid import timestep_grid
from intaglio.sampling.methods.c_upscale import CUpscale, _offsets, low_pass

SMALL = {"picture": "16x16.png", "begin": 0.3, "blur": 0.7}
BAD = {"factor": 1}
PIECES = {}


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "small.png"
    save_png(tiny.pixels(1)[0], path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("models") / "base"))


def enlarged_latents(model, picture, factor=2):
    pixels, size = ImageSet.load(picture, model.resolution).pixels, factor * model.resolution
    return model.encode(interpolate(pixels, size=(size, size), mode="bicubic", align_corners=False).clamp(0, 1))


def upscale(model, picture, **settings):
    options = {"prompt": "dog", "count": 1, "steps": settings.pop("steps", 3), "scale": settings.pop("scale", 1.0)}
    calls = settings.pop("calls", None) or Calls()
    return drawn(model, CUpscale(**{"picture": picture, **settings}), **options, calls=calls)


def test_all_of_the_structure_kept_at_all_frequencies_is_the_enlarged_picture(model, picture):
    found = upscale(model, picture, structure=1.0, decay=0.0, blur=0.0, least_attention=0.0)
    assert torch.allclose(found, enlarged_latents(model, picture), atol=1e-4)


def test_without_structure_it_is_the_walk_of_averaged_windows_written_out(model, picture):
    """Nine windows of 8 cells, four apart, in a field of 16; weights sin² fall to the edges."""
    found = upscale(model, picture, structure=0.0, least_attention=0.0, begin=0.5)
    known = enlarged_latents(model, picture).double()
    grid = timestep_grid(model.schedule, 3, round(0.5 * 999))
    x = grid[0].signal * known
    x = x + grid[0].noise * torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(0))[None].double()
    fall = torch.tensor([math.sin(math.pi * (k + 0.5) / 8) ** 2 for k in range(8)], dtype=torch.float64)
    for now, then in pairwise(grid):
        total, weights = torch.zeros_like(x), torch.zeros(16, 16, dtype=torch.float64)
        for top in (0, 4, 8):
            for left in (0, 4, 8):
                inside = x[:, :, top : top + 8, left : left + 8].float()
                with torch.no_grad():
                    noise = model.predict(inside, torch.tensor([now.t]), model.embed(["dog"])).double()
                total[:, :, top : top + 8, left : left + 8] += torch.outer(fall, fall) * noise
                weights[top : top + 8, left : left + 8] += torch.outer(fall, fall)
        noise = total / weights
        x = then.signal * (x - now.noise * noise) / now.signal + then.noise * noise
    assert torch.allclose(found.double(), x, atol=1e-3)


def test_windows_cover_the_field_half_a_window_apart():
    assert _offsets(2, 8) == [0, 4, 8]
    assert _offsets(3, 8) == [0, 4, 8, 12, 16]
    assert _offsets(2, 5) == [0, 2, 4, 5]


def test_the_low_pass_is_a_gaussian_that_keeps_constants_and_dims_a_wave_as_it_should():
    """A wave of angular frequency w is dimmed by exp(-w² σ² / 2)."""
    constant = torch.full((1, 2, 12, 12), 3.0, dtype=torch.float64)
    assert torch.allclose(low_pass(constant, 1.5), constant)
    wave = torch.cos(2 * math.pi / 8 * torch.arange(48, dtype=torch.float64)).expand(1, 1, 48, 48)
    found = low_pass(wave, 1.5)[0, 0, 24, 16:32] / wave[0, 0, 24, 16:32]
    kept = found[wave[0, 0, 24, 16:32].abs() > 0.5]
    assert torch.allclose(kept, torch.full_like(kept, math.exp(-((2 * math.pi / 8) ** 2) * 1.5**2 / 2)), atol=6e-3)


def test_a_word_without_attention_in_a_window_is_left_out_of_it_alone(model, picture):
    method = CUpscale(picture=picture, least_attention=0.5)
    maps = torch.ones(1, 3, 8, 8)
    maps[0, 1] = 0.0
    maps[0, 1, :4, :4] = 4.0  # all of the second token's attention lies in the upper left quarter
    gone = {place: method._left_out(maps, *place, 8)[0].tolist() for place in ((0, 0), (0, 8), (8, 8), (0, 4))}
    assert gone[0, 0] == [False, False, False]
    assert gone[0, 8] == gone[8, 8] == [False, True, False]
    assert gone[0, 4] == [False, False, False]


def test_words_are_those_of_the_prompt_and_the_rest_has_an_even_spread(model, picture):
    seen = []
    method = CUpscale(picture=picture, least_attention=0.5)
    kept = CUpscale._left_out
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CUpscale, "_left_out", lambda self, maps, *rest: seen.append(maps) or kept(self, maps, *rest))
        drawn(model, method, prompt="red cat", count=1, steps=2)
    maps = seen[0][0]
    assert maps.shape[1:] == (8, 8)
    words = [k for k in range(len(maps)) if (maps[k] != 1).any()]
    assert words == [1, 2]


def test_it_is_drawn_at_several_times_the_size_with_the_calls_at_most_planned(model, picture):
    for settings in ({"scale": 4.0}, {"scale": 1.0, "least_attention": 0.0}, {"factor": 3, "scale": 1.0}):
        calls = Calls()
        found = upscale(model, picture, calls=calls, **settings)
        factor = settings.get("factor", 2)
        assert found.shape[2:] == (8 * factor, 8 * factor)
        windows = 9 if factor == 2 else 25
        looks = 0 if settings.get("least_attention") == 0.0 else 1
        assert calls.forward == 3 * windows * (2 if settings["scale"] == 4.0 else 1) + looks


def test_what_it_cannot_begin_at_is_refused(model, picture, tmp_path):
    with pytest.raises(BadInput, match="give --picture"):
        upscale(model, None)
    save_png(tiny.pixels(1, side=24)[0], tmp_path / "large.png")
    with pytest.raises(BadInput, match="24x24 pixels, and 16x16"):
        upscale(model, tmp_path / "large.png")
