import math

import pytest
import torch

from exact_draws import ExactMixture, drawn
from intaglio.sampling.calls import Calls
from intaglio.sampling.methods.fkc import FeynmanKac
from intaglio.sampling.methods.plain import Plain

SMALL = {"particles": 2}
BAD = {"clip": -1.0}
PIECES = {}

NEAR = -30.0
ONE = ExactMixture(
    torch.tensor([[[[0.0]]], [[[2.0]]]]), torch.tensor([1.0, 0.25]), {"": [0.0, NEAR], "tuned": [NEAR, 0.0]}
)
"""Without a prompt N(0, 1), with it N(2, 1/4)."""


def product(scale):
    """Mean and variance of the density N(2, 1/4)^w N(0, 1)^(1 - w), normalised."""
    precision = 4 * scale + (1 - scale)
    return 4 * scale * 2 / precision, 1 / precision


def test_particles_follow_the_density_that_guidance_names():
    """At the scale 1.5 particles without weights would come as near."""
    scale = 2.0
    mean, _ = product(scale)
    method = FeynmanKac(scale=scale, clip=0.0, particles=64)
    found = drawn(ONE, method, prompt="tuned", count=64, steps=100).double()
    assert found.mean().item() == pytest.approx(mean, abs=0.12)
    plain = drawn(ONE, Plain(), prompt="tuned", count=512, steps=100, scale=scale).double()
    assert abs(plain.mean().item() - mean) > 0.12  # guidance alone misses it


def test_the_whole_population_has_the_variance_of_the_target():
    """Bounds are five deviations of K = 1024 independent ones: sd / √K of the mean, σ² √(2 / K) of the variance.

    At w = 3 a weight of w - 1 in place of w (w - 1) / 2 would be another, as it is not at w = 2.
    """
    mean, variance = product(3.0)
    found = population(FeynmanKac(scale=3.0, clip=0.0, particles=1024), steps=100)
    assert found.mean().item() == pytest.approx(mean, abs=0.05)
    assert found.var().item() == pytest.approx(variance, abs=0.022)


def test_mass_of_two_modes():
    """p = ½ N(±2, ¼), of which the prompt has shares 0.8 and 0.2; with w = 3 the right one has 0.8³ / (0.8³ + 0.2³)."""
    shares = {"": [0.0, 0.0], "tuned": [math.log(0.8), math.log(0.2)]}
    two = ExactMixture(torch.tensor([[[[2.0]]], [[[-2.0]]]]), torch.tensor([0.25, 0.25]), shares)
    found = population(FeynmanKac(scale=3.0, clip=0.0, particles=4096), steps=100, model=two)
    assert (found > 0).double().mean().item() == pytest.approx(0.985, abs=0.012)


def population(method, steps, model=ONE):
    """The particles of one picture, resampled by their last weights."""
    kept = []

    class Whole(FeynmanKac):
        def pick(self, log_w, u):
            kept.append(self.choose(log_w, u))
            return super().pick(log_w, u)

        def advance(self, state, x, now, then, predict, noise):
            result = super().advance(state, x, now, then, predict, noise)
            self_x[0] = result[1]
            return result

    self_x = [None]
    whole = Whole(**vars(method))
    drawn(model, whole, prompt="tuned", count=1, steps=steps)
    return self_x[0].flatten()[kept[0][0]]


def test_without_guidance_no_weight_differs():
    traces = []
    drawn(ONE, FeynmanKac(scale=1.0), prompt="tuned", count=3, steps=7, told=traces.append)
    assert torch.allclose(traces[0].effective_share, torch.ones(7, 3, dtype=torch.float64))
    assert torch.equal(traces[0].ancestors, torch.full((7, 3), 8.0, dtype=torch.float64))
    assert torch.allclose(traces[0].log_normaliser, torch.zeros(3, dtype=torch.float64))


def test_clipped_increments_are_centred_and_bounded():
    gain = torch.tensor([[0.0, 10.0, -10.0, 4.0], [1.0, 1.0, 1.0, 1.0]], dtype=torch.float64)
    found = FeynmanKac(clip=1.0)._clipped(gain)
    assert torch.equal(found, torch.tensor([[-1.0, 1.0, -1.0, 1.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64))
    assert torch.equal(FeynmanKac(clip=0.0)._clipped(gain), gain)


def test_a_picture_is_the_same_in_any_batch_and_calls_are_planned():
    method, calls = FeynmanKac(particles=4, scale=2.0), Calls()
    whole = drawn(ONE, method, prompt="tuned", count=6, steps=10, calls=calls)
    assert calls == Calls(forward=6 * 10 * 2 * 4)
    assert torch.allclose(drawn(ONE, method, prompt="tuned", count=2, steps=10), whole[:2], atol=1e-5)
