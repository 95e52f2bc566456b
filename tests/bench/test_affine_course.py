"""The closed form of an affine denoiser's fine-tune on one point, beside gradient descent and the theory of widths."""

import math

import pytest
import torch
from torch import nn

from intaglio.adapt.bayesian import Posterior
from intaglio.adapt.settings import BayesianTraining
from intaglio.bench.finetune import exact_figures
from intaglio.bench.finetune.affine_course import AffineCourse
from intaglio.bench.finetune.exact_figures import affine_course, figures_of_course
from intaglio.bench.finetune.exact_ground import NOISE_WIDTH, SCHEDULE, SIGNAL, SIZE, WIDTH
from intaglio.bench.finetune.widths import PROBED, ddim, slopes, width

MEAN = torch.tensor([0.5, -0.2, 0.1, 0, 0, 0, 0, 0])
VARIANCES = torch.tensor([WIDTH**2] * SIGNAL + [NOISE_WIDTH**2] * (SIZE - SIGNAL))
POINT = torch.tensor([1.0, 0.7, -0.4, 0, 0, 0, 0, 0])
TIMES = torch.tensor(PROBED)


def _levels(t):
    a = float(SCHEDULE.alphas_cumprod[t]) ** 0.5
    return a, (1 - a * a) ** 0.5


def _gradients(layer, t):
    """Of the expected loss: the noises +-sqrt(d) e_i have mean 0 and covariance I, enough for a quadratic."""
    a, b = _levels(t)
    noise = math.sqrt(SIZE) * torch.cat([torch.eye(SIZE), -torch.eye(SIZE)])
    loss = (layer(a * POINT + b * noise) - noise).square().sum(1).mean() / 2
    return torch.autograd.grad(loss, list(layer.parameters()))


def test_gradient_descent_takes_the_course():
    t = 300
    a, b = _levels(t)
    spread = a * a * VARIANCES + b * b
    layer = nn.Linear(SIZE, SIZE)
    with torch.no_grad():
        layer.weight.copy_(torch.diag(b / spread))
        layer.bias.copy_(-a * b * MEAN / spread)
    rate, steps = 4e-3, 300
    for _ in range(steps):
        for weight, gradient in zip(layer.parameters(), _gradients(layer, t), strict=True):
            weight.data -= rate * gradient
    x = torch.randn(5, SIZE, generator=torch.Generator().manual_seed(0))
    found = AffineCourse(MEAN, VARIANCES, POINT, rate * steps)(x, torch.full((5,), t))
    torch.testing.assert_close(found, layer(x).detach(), atol=5e-3, rtol=0)


def test_the_width_across_falls_as_the_theory_says():
    signal, noise = SCHEDULE.signals[TIMES].float(), SCHEDULE.noises[TIMES].float()
    earlier = torch.full((len(TIMES),), NOISE_WIDTH)
    for time in (0.0, 0.5, 2.0, 8.0):
        found = width(slopes(AffineCourse(MEAN, VARIANCES, POINT, time), POINT[None], 0)[1])
        grown = torch.exp(noise**2 * time)
        expected = (grown / NOISE_WIDTH**2 + signal**2 * (grown - 1) / noise**2).rsqrt()
        torch.testing.assert_close(found, expected, atol=2e-3, rtol=2e-2)
        assert (found <= earlier + 1e-3).all()
        earlier = found


@pytest.mark.parametrize(("share", "rises"), [(0.8, False), (1.25, True)])
def test_the_width_along_rises_where_the_point_lies_beyond_one_deviation_and_no_higher_than_its_bound(share, rises):
    point = torch.zeros(SIZE)
    point[0] = share * WIDTH
    deviations = []
    for time in (0.0, 0.01, 0.5, 2.0, 10.0):
        shrink, _ = AffineCourse(torch.zeros(SIZE), VARIANCES, point, time).slopes(TIMES)
        deviations.append(width(shrink[:, 0, 0] / SCHEDULE.signals[TIMES].float()))
    assert ((deviations[1] > deviations[0]) == rises).all()
    signal, noise, power = SCHEDULE.signals[TIMES].float(), SCHEDULE.noises[TIMES].float(), float(point.square().sum())
    bound = ((1 + signal**2 * power) * WIDTH**2 + noise**2 * power).sqrt()
    assert all((each <= bound + 1e-4).all() for each in deviations)


def test_noise_left_in_samples_across_is_the_product_of_the_steps():
    starts = torch.randn(4, SIZE, generator=torch.Generator().manual_seed(1))
    time, steps = 3.0, 10
    times = [round(999 - 999 * index / steps) for index in range(steps)]
    left = 1.0
    for index, t in enumerate(times):
        a, b = _levels(t)
        kept = a * a * NOISE_WIDTH**2 / (a * a * NOISE_WIDTH**2 + b * b) * math.exp(-b * b * time)
        following, noise = _levels(times[index + 1]) if index + 1 < steps else (1.0, 0.0)
        left *= following / a * kept + noise / b * (1 - kept)
    found = ddim(AffineCourse(MEAN, VARIANCES, POINT, time), starts, 0, steps=steps)
    torch.testing.assert_close(found[:, SIGNAL:], left * starts[:, SIGNAL:], atol=1e-4, rtol=1e-3)


def test_random_weights_leave_the_course_of_the_means_as_it_is():
    layer = nn.Linear(SIZE, SIZE)
    weights = dict(layer.named_parameters())
    plain = _gradients(layer, 500)
    posterior = Posterior(weights, dict.fromkeys(weights, 1.0), BayesianTraining(bayesian=True, sigma=0.3))
    for sign in (1, -1):  # a draw and its mirror image
        for sigma in posterior.sigmas.values():
            sigma.fill_(0.3 * sign)
        with posterior.sampled(0, 0):
            for weight, gradient in zip(weights.values(), _gradients(layer, 500), strict=True):
                weight.grad = gradient / 2 if weight.grad is None else weight.grad + gradient / 2
    for weight, gradient in zip(weights.values(), plain, strict=True):
        torch.testing.assert_close(weight.grad, gradient, atol=1e-5, rtol=1e-4)


def test_an_affine_denoiser_shows_no_stage(monkeypatch):
    monkeypatch.setattr(exact_figures, "TIMES", (0.0, 0.3, 2.0, 10.0, 100.0))
    course = affine_course(1)
    found = figures_of_course(course)
    assert found["across_most"] == pytest.approx(1)
    assert found["guidance 1"]["stage"] == found["guidance 5"]["stage"] == 0
    assert found["guidance 1"]["final"] > 0.99
    noise = course.measures["noise 1"]
    assert (noise[0] == noise.amax(0)).all()
