import math

import pytest
import torch

from exact_draws import ExactMixture, drawn
from intaglio.errors import BadInput, IntaglioError
from intaglio.images.image_set import ImageSet
from intaglio.sampling.grid import level_at, timestep_grid
from intaglio.sampling.methods.fkc import FeynmanKac
from intaglio.sampling.methods.plain import Plain
from intaglio.sampling.start import NoiseStart, UnitNoise
from intaglio.sampling.starts.analytic import AnalyticStart, LatentMoments

MEAN, VARIANCE = torch.tensor([1.5, -0.5]).view(2, 1, 1), 0.3
NORMAL = ExactMixture(MEAN[None], torch.tensor([VARIANCE]), {"": [0.0]})
"""Data N(μ, v I) of two numbers."""
MOMENTS = LatentMoments(MEAN.double(), VARIANCE, 256, "0" * 64, "0" * 64)


def final_law(first, steps, mean, variance):
    """Mean and variance of what DDIM makes of a normal start: a linear recursion, the exact noise being
    n (x - s μ) / (s² v + n²)."""
    for now, then in zip(
        timestep_grid(NORMAL.schedule, steps, first), timestep_grid(NORMAL.schedule, steps, first)[1:], strict=False
    ):
        gain = now.noise / (now.signal**2 * VARIANCE + now.noise**2)  # of the noise in x - s μ
        slope = then.signal / now.signal * (1 - now.noise * gain) + then.noise * gain
        mean = then.signal * MEAN + slope * (mean - now.signal * MEAN)
        variance = slope**2 * variance
    return mean, variance


@pytest.mark.parametrize("first", [300, 600, 800, 940, 999])
def test_the_pictures_have_the_mean_and_the_variance_of_the_data_from_any_timestep(first):
    found = drawn(NORMAL, Plain(), count=2000, steps=150, start=AnalyticStart(MOMENTS, first)).double()
    assert torch.allclose(found.mean(0), MEAN.double(), atol=0.05)
    assert found.var(0).mean().item() == pytest.approx(VARIANCE, abs=0.035)
    level = level_at(NORMAL.schedule, first)
    law = final_law(first, 150, level.signal * MEAN, level.noise**2 + level.signal**2 * VARIANCE)
    assert torch.allclose(found.mean(0), law[0].double(), atol=0.05)
    assert law[1] == pytest.approx(VARIANCE, rel=0.05)  # the grid's error


@pytest.mark.parametrize("first", [300, 600, 800])
def test_unit_noise_misses_the_mean_by_a_factor(first):
    """Along the exact flow a deviation from s μ shrinks by sqrt(v / (v + ρ²)), and unit noise begins off by s μ."""
    ratio = level_at(NORMAL.schedule, first).ratio
    missing = math.sqrt(VARIANCE / (VARIANCE + ratio**2))
    found = drawn(NORMAL, Plain(), count=2000, steps=150, start=UnitNoise(first)).double()
    assert torch.allclose(found.mean(0), (1 - missing) * MEAN.double(), atol=0.06)
    assert torch.allclose(found.mean(0), final_law(first, 150, torch.zeros(2, 1, 1), 1.0)[0].double(), atol=0.05)


def test_no_isotropic_normal_is_nearer_to_the_noised_latents():
    """The gradient of KL(N(s μ, s² C + n² I) ‖ N(m, v I)) in m and v vanishes at the start's own, for any C."""
    root = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mu, c = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64), root @ root.T
    level = level_at(NORMAL.schedule, 700)
    covariance = level.signal**2 * c + level.noise**2 * torch.eye(3, dtype=torch.float64)
    start = AnalyticStart(LatentMoments(mu.view(1, 1, 3), float(c.trace() / 3), 2, "", ""), 700)
    begun = start.from_noise(torch.tensor([[[[0.0, 1.0, 0.0]]]]), level).flatten()
    m = (level.signal * mu).requires_grad_(True)
    v = ((begun[1] - level.signal * mu[1]) ** 2).requires_grad_(True)
    assert torch.allclose(begun[[0, 2]], m[[0, 2]].detach())
    exact = torch.distributions.MultivariateNormal(level.signal * mu, covariance)
    isotropic = torch.distributions.MultivariateNormal(m, v * torch.eye(3, dtype=torch.float64))
    torch.distributions.kl_divergence(exact, isotropic).backward()
    assert m.grad is not None
    assert v.grad is not None
    assert m.grad.abs().max() < 1e-9
    assert abs(v.grad) < 1e-9


def pictures(count, side=2, seed=0):
    pixels = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))
    return ImageSet.from_pixels(pixels * torch.tensor([1.0, 0.5, 0.1]).view(3, 1, 1))


class Coded(ExactMixture):
    """Latents are pixels."""

    def __init__(self):
        super().__init__(torch.zeros(1, 3, 2, 2), torch.ones(1), {"": [0.0]})


def test_moments_are_those_of_the_latents_whatever_the_order():
    given = pictures(40)
    found = LatentMoments.fit(Coded(), given)
    assert torch.allclose(found.mean, given.pixels.double().mean(0))
    centred = given.pixels.double().flatten(1) - given.pixels.double().flatten(1).mean(0)
    assert found.variance == pytest.approx(float((centred.T @ centred / 39).trace() / 12))
    back = LatentMoments.fit(Coded(), given[list(range(39, -1, -1))])
    assert back.hash == found.hash
    assert torch.allclose(back.mean, found.mean)
    assert LatentMoments.fit(Coded(), pictures(40, seed=1)).hash != found.hash
    with pytest.raises(BadInput, match="needs 2 pictures, and better 256, not 1"):
        LatentMoments.fit(Coded(), pictures(1))


def test_a_fit_is_kept_and_read_and_another_model_is_refused(tmp_path):
    model, path = Coded(), tmp_path / "start.safetensors"
    found = LatentMoments.fit(model, pictures(5))
    found.save(path)
    back = LatentMoments.load(path, model)
    assert torch.equal(back.mean, found.mean)
    assert (back.variance, back.count, back.hash) == (found.variance, 5, found.hash)

    class Another(Coded):
        fingerprint = "1" * 64

    with pytest.raises(BadInput, match="was fitted to another model"):
        LatentMoments.load(path, Another())
    with pytest.raises(BadInput, match="holds no start of"):
        LatentMoments.load(path, NORMAL)
    with pytest.raises(BadInput, match="there is no fitted start"):
        LatentMoments.load(tmp_path / "none.safetensors", model)
    path.write_bytes(b"no tensors")
    with pytest.raises(IntaglioError, match="start.safetensors"):
        LatentMoments.load(path, model)


def test_particles_begin_there_too_each_with_its_own_noise():
    start = AnalyticStart(MOMENTS, 500)
    assert isinstance(start, NoiseStart)
    method = FeynmanKac(particles=4, scale=1.0)
    found = drawn(NORMAL, method, count=300, steps=60, start=start).double()
    assert torch.allclose(found.mean(0), MEAN.double(), atol=0.12)


def test_a_start_outside_the_schedule_is_refused():
    with pytest.raises(BadInput, match="cannot start at timestep 1000; use 0 to 999"):
        drawn(NORMAL, Plain(), count=1, steps=2, start=AnalyticStart(MOMENTS, 1000))
    with pytest.raises(BadInput, match="9 steps cannot be taken; use 1 to 8"):
        drawn(NORMAL, Plain(), count=1, steps=9, start=AnalyticStart(MOMENTS, 7))
