"""The loss of a velocity, by hand."""

import math

import pytest
import torch

from intaglio.explain.sharpening.flow_lessons import FlowLessons, Seen, held_out_errors, seen, velocity_errors
from intaglio.explain.sharpening.weak_generator import WeakGenerator, new_generator
from sharpening_scenes import blind_encoder, blue_pictures


class Echo(WeakGenerator):
    """Says what it was given, and keeps it."""

    def __init__(self):
        super().__init__(1, 8, 4)

    def forward(self, noisy, times, descriptors, maps=None):
        self.given = (noisy, times, descriptors, maps)
        return noisy


def made(scale=1.0):
    images, latents, _ = blue_pictures(40)
    encoder = blind_encoder()
    return encoder, images, FlowLessons.of(encoder, images.pixels, latents, rows=8, time_scale=scale, seed=5)


def test_the_error_is_that_of_noise_less_latents_on_the_straight_path():
    source = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(3, 2, 4, 4, generator=source).double() for _ in range(2))
    times = torch.tensor([0.0, 0.25, 1.0]).double()
    found = velocity_errors(Echo(), Seen(torch.zeros(3, 8).double(), None), clean, times, noise)
    for k, t in enumerate(times.tolist()):
        said = [(1 - t) * x + t * n - (n - x) for x, n in zip(clean[k].ravel(), noise[k].ravel(), strict=True)]
        assert float(found[k]) == pytest.approx(sum(float(one) ** 2 for one in said) / len(said))


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_times_of_a_step_are_logistic_of_normal_draws(scale):
    encoder, _, lessons = made(scale)
    echo, given = Echo(), seen(encoder, lessons.pixels, False)
    logits = []
    for step in range(40):
        lessons.loss(echo, given.of(lessons.places(step, "x")), lessons.places(step, "x"), step, "x")
        logits.append(echo.given[1].logit())
    found = torch.cat(logits)
    assert float(found.mean()) == pytest.approx(0, abs=4 * scale / math.sqrt(320))
    assert float(found.std()) == pytest.approx(scale, rel=0.2)
    assert torch.equal(echo.given[2], given.descriptors[lessons.places(39, "x")])


def test_latents_of_lessons_have_mean_0_and_deviation_1_and_others_the_same_scale():
    _, _, lessons = made()
    assert lessons.latents.mean((0, 2, 3)).tolist() == pytest.approx([0], abs=1e-5)
    assert lessons.latents.std((0, 2, 3)).tolist() == pytest.approx([1], rel=1e-5)


def test_held_out_errors_are_those_of_the_same_draws_whatever_the_encoder_says():
    encoder, _, lessons = made()
    _, latents, _ = blue_pictures(40)
    given = seen(encoder, lessons.pixels, False)
    first = held_out_errors(Echo(), given, latents, lessons, 3)
    other = Seen(given.descriptors.flip(0), None)
    assert torch.equal(first, held_out_errors(Echo(), other, latents, lessons, 3))
    assert first.shape == (40,)


def test_a_generator_is_told_descriptor_time_and_maps():
    source = torch.Generator().manual_seed(0)
    noisy, told = torch.randn(2, 2, 4, 4, generator=source), torch.randn(2, 8, generator=source)
    maps, times = torch.randn(2, 5, 1, 1, generator=source), torch.tensor([0.2, 0.2])
    drawing = new_generator(2, 8, 8, 5, 0)
    said = drawing(noisy, times, told, maps)
    assert said.shape == noisy.shape
    for given in ((noisy, times + 0.5, told, maps), (noisy, times, -told, maps), (noisy, times, told, -maps)):
        assert not torch.allclose(said, drawing(*given), atol=1e-4)


def test_maps_of_an_encoder_lead_to_its_descriptors():
    encoder, images, _ = made()
    found = seen(encoder, images.pixels, True)
    torch.testing.assert_close(found.descriptors, encoder(images.pixels))
    assert found.maps.shape[1] == encoder.widths[2]
