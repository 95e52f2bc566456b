import pytest
import torch

from exact_draws import ExactMixture
from intaglio.bench.sample import bench, enlargement
from intaglio.bench.sample.bench import SampleBench
from intaglio.bench.sample.enlargement import enlargement_figures, parts_of
from intaglio.images.image_set import ImageSet

NORMAL = ExactMixture(torch.zeros(1, 1, 1, 1), torch.ones(1), {"": [0.0]})
"""Stands in for a model that is not asked."""


def squares(*places, side=32):
    picture = torch.ones(3, side, side)
    for top, left, size in places:
        picture[:, top : top + size, left : left + size] = torch.tensor([0.9, 0.1, 0.1])[:, None, None]
    return picture


def test_parts_hang_together_and_specks_are_none():
    assert parts_of(squares()) == 0
    assert parts_of(squares((2, 2, 8), (20, 20, 8))) == 2
    assert parts_of(squares((2, 2, 8), (4, 10, 8))) == 1
    assert parts_of(squares((2, 2, 8), (20, 20, 4))) == 1


def test_figures_are_those_of_what_was_drawn(monkeypatch):
    """A stand-in that repeats the pixels keeps the blocks' means, and one that draws a second part loses them."""
    pictures = ImageSet.from_pixels(torch.stack([squares((8, 8, 16))] * 2), captions=["one", "two"])

    def drawn(model, picture, caption, seed, steps, **settings):
        found = picture.repeat_interleave(2, 1).repeat_interleave(2, 2)
        if settings:
            found[:, :10, :10] = 0.0
        return found

    monkeypatch.setattr(enlargement, "enlarged", drawn)
    figures = enlargement_figures(NORMAL, pictures, quick=True, seed=0)
    assert figures["upscale_parts"] == figures["bicubic_parts"] == 1
    assert figures["windows_parts"] == 2
    assert figures["upscale_psnr"] > figures["bicubic_psnr"] > figures["windows_psnr"]
    assert figures["bicubic_detail"] == 1
    assert figures["upscale_detail"] > 1


def test_it_is_measured_where_it_is_chosen(tmp_path, monkeypatch):
    names = [f"{way}_{what}" for way in ("upscale", "windows", "bicubic") for what in ("psnr", "parts", "detail")]
    monkeypatch.setattr(bench, "enlargement_figures", lambda *given, **named: dict.fromkeys(names, 3.0))
    chosen = SampleBench(methods=("c-upscale",), quick=True, runs=tmp_path)
    figures = chosen(progress="none")
    assert {figures[name] for name in names} == {3.0}
    assert "twice the size" in chosen.summary(figures)


@pytest.mark.parametrize("name", ["plain", "stsl"])
def test_it_is_not_measured_elsewhere(name):
    assert SampleBench(methods=(name,))._enlargement() == {}
