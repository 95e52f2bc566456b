import math

import pytest
import torch

from exact_draws import ExactMixture, drawn
from intaglio.errors import BadInput
from intaglio.images.image_set import save_png
from intaglio.sampling.calls import Calls
from intaglio.sampling.guide import GuideContext
from intaglio.sampling.methods.plain import Plain
from intaglio.sampling.methods.stsl import STSL
from intaglio.sampling.operators.masking import Masking
from intaglio.sampling.operators.mean_pool import MeanPool

SMALL = {"measured": "4x4.png", "updates": 1}
BAD = {"updates": 0}
PIECES = {}
VARIANTS = {
    "first order": {"SMALL": {"order": 1, "updates": 2, "gluing": 0.0}, "BAD": {"gluing": -1.0}, "PIECES": {}},
    "mask with noise": {
        "SMALL": {"measured": "16x16.png", "operator": "mask", "mask": "16x16.png", "noise": 0.5, "scale": 2.0},
        "BAD": {"operator": "masks"},
        "PIECES": {},
    },
}

MEASURED, NOISE, SPREAD = 0.3, 0.5, 0.04
TWO = ExactMixture(torch.tensor([[[[1.0]]], [[[-1.0]]]]), torch.tensor([SPREAD, SPREAD]), {"": [0.0, 0.0]})
"""½ N(1, 0.04) + ½ N(-1, 0.04)."""
WHOLE = MeanPool(1)
NORMAL = ExactMixture(torch.full((1, 1, 1, 1), 0.4), torch.tensor([0.25]), {"": [0.0]})


def context(model, count, t, calls=None):
    given = model.embed([""] * count)
    return GuideContext(model, ("",) * count, given, given, (t,), 1.0, calls=calls or Calls())


def timestep(model, ratio):
    return int((model.schedule.noises / model.schedule.signals - ratio).abs().argmin())


def sources(count):
    return [torch.Generator().manual_seed(k) for k in range(count)]


def gradient(method, model, x, t, operator=WHOLE):
    """The objective's gradient at latents x [n, ...] of one timestep."""
    guide = method.guidance(operator, torch.full((1, *x.shape[1:]), MEASURED), sources(len(x)))
    state = guide.init(context(model, len(x), t))
    return guide.gradient(state, x, torch.full((len(x),), t), model.predict)


def exact_score(z, rho):
    """d/dz log p(y | z), by the joint law of z = h + ρ ξ and y = h + σ η in each component."""
    z = z.double().requires_grad_(True)
    a, b = SPREAD + rho**2, SPREAD + NOISE**2
    both = [
        -(b * (z - m) ** 2 - 2 * SPREAD * (z - m) * (MEASURED - m) + a * (MEASURED - m) ** 2) / 2 / (a * b - SPREAD**2)
        for m in (1, -1)
    ]
    alone = [-((z - m) ** 2) / (2 * a) for m in (1, -1)]
    ratio = torch.stack(both).logsumexp(0) - torch.stack(alone).logsumexp(0)
    return torch.autograd.grad(ratio.sum(), z)[0]


@pytest.mark.parametrize("rho", [2.0, 1.0, 0.5])
def test_the_second_order_more_than_halves_the_error_of_the_posteriors_score(rho):
    t = timestep(TWO, rho)
    signal = float(TWO.schedule.signals[t])
    rho = float(TWO.schedule.noises[t]) / signal
    source = torch.Generator().manual_seed(0)
    h = torch.where(torch.rand(1500, generator=source) < 0.5, 1.0, -1.0)
    z = h + SPREAD**0.5 * torch.randn(1500, generator=source) + rho * torch.randn(1500, generator=source)
    errors = []
    for order in (1, 2):
        method = STSL(order=order, noise=NOISE, gluing=0.0, probe=0.01, weight=1.0)
        found = -signal * gradient(method, TWO, (signal * z).view(-1, 1, 1, 1), t).flatten()
        errors.append(float((found - exact_score(z, rho)).square().mean().sqrt()))
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("rho", [3.0, 0.5])
def test_under_a_normal_law_the_trace_is_constant_and_moves_nothing(rho):
    t = timestep(NORMAL, rho)
    x = torch.linspace(-2, 2, 9).view(-1, 1, 1, 1)
    first = gradient(STSL(order=1, noise=NOISE, gluing=0.0), NORMAL, x, t)
    second = gradient(STSL(noise=NOISE, gluing=0.0, weight=1.0), NORMAL, x, t)
    assert torch.allclose(second, first, atol=2e-5)


def test_the_norms_gradient_written_out_under_a_normal_law():
    """ĥ = μ + v s (x - s μ) / (s² v + n²); the gradient of |y - ĥ| is its slope, with the sign of ĥ - y."""
    t = timestep(NORMAL, 1.0)
    s, n = float(NORMAL.schedule.signals[t]), float(NORMAL.schedule.noises[t])
    slope = 0.25 * s / (s**2 * 0.25 + n**2)
    x = torch.tensor([-2.0, 2.0]).view(-1, 1, 1, 1)
    found = gradient(STSL(order=1, gluing=0.0), NORMAL, x, t).flatten()
    assert found.tolist() == pytest.approx([-slope, slope], rel=1e-4)
    glued = gradient(STSL(order=1, gluing=0.5), NORMAL, x, t).flatten()
    assert glued.tolist() == pytest.approx([-1.5 * slope, 1.5 * slope], rel=1e-4)  # E(y + D(ĥ) - D(ĥ)) - ĥ = y - ĥ


def test_the_derived_weight_of_a_mask_is_that_of_its_share():
    """tr Aᵀ A of a mask is the number of pixels that it knows: one of four weighs a quarter."""
    means = torch.stack([torch.full((1, 2, 2), 1.0), torch.full((1, 2, 2), -1.0)])
    model = ExactMixture(means, torch.tensor([SPREAD, SPREAD]), {"": [0.0, 0.0]})
    known = torch.zeros(1, 1, 2, 2)
    known[..., 0, 0] = 1.0
    t = timestep(model, 1.5)
    x = torch.randn(6, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    traces = []
    for operator in (WHOLE, Masking(known)):
        second = gradient(STSL(noise=NOISE, gluing=0.0, weight=1.0), model, x, t, operator)
        traces.append(second - gradient(STSL(order=1, noise=NOISE, gluing=0.0), model, x, t, operator))
    assert torch.allclose(traces[1], 0.25 * traces[0], atol=1e-5)
    assert traces[1].abs().max() > 0.05


def posterior_draws(order, count=600):
    method = STSL(order=order, noise=NOISE, gluing=0.0, updates=1, probe=0.02, rate=1.0, weight=1.0)
    guide = method.guidance(WHOLE, torch.full((1, 1, 1, 1), MEASURED), sources(count))
    return drawn(TWO, guide=guide, count=count, steps=40).flatten().double()


def test_the_whole_walk_is_nearer_to_the_posterior_by_the_second_order():
    """The posterior has 0.888 of its weight on the side of y: modes ± 1 drawn to y by 0.04 / (0.04 + 0.25)."""
    shrink = SPREAD / (SPREAD + NOISE**2)
    weight = 1 / (1 + math.exp(((MEASURED - 1) ** 2 - (MEASURED + 1) ** 2) / (2 * (SPREAD + NOISE**2))))
    source = torch.Generator().manual_seed(2)
    side = torch.where(torch.rand(600, generator=source) < weight, 1.0, -1.0)
    deviation = (SPREAD * (1 - shrink)) ** 0.5
    truth = side + shrink * (MEASURED - side) + deviation * torch.randn(600, generator=source)
    assert weight == pytest.approx(0.888, abs=0.001)
    distances = [(posterior_draws(order).sort().values - truth.sort().values).abs().mean() for order in (1, 2)]
    assert distances[1] < 0.7 * distances[0]


def test_calls_are_counted_and_a_probe_is_a_pictures_own():
    calls = Calls()
    guide = STSL(updates=3).guidance(WHOLE, torch.full((1, 1, 1, 1), MEASURED), sources(4))
    whole = drawn(TWO, guide=guide, count=4, steps=5, calls=calls)
    assert calls == Calls(forward=4 * 5 * (1 + 3 * 2), backward=4 * 5 * 3 * 2, decodes=4 * 5 * 3 * 2)
    guide = STSL(updates=3).guidance(WHOLE, torch.full((1, 1, 1, 1), MEASURED), sources(2))
    assert torch.allclose(drawn(TWO, guide=guide, count=2, steps=5), whole[:2], atol=1e-5)


def test_a_rate_of_nearly_nothing_is_the_plain_walk():
    guide = STSL(rate=1e-12, updates=1).guidance(WHOLE, torch.full((1, 1, 1, 1), MEASURED), sources(4))
    assert torch.allclose(drawn(TWO, guide=guide, count=4, steps=5), drawn(TWO, Plain(), count=4, steps=5), atol=1e-5)


def test_a_picture_that_fails_costs_that_one_alone():
    y = torch.full((3, 1, 1, 1), MEASURED)
    y[1] = torch.inf
    guide = STSL(order=1, updates=2).guidance(WHOLE, y, sources(3))
    found = drawn(TWO, guide=guide, count=3, steps=4, spare_failed=True)
    assert found.isfinite().flatten().tolist() == [True, False, True]


def test_inputs_that_do_not_fit_are_refused(tmp_path):
    model = ExactMixture(torch.zeros(1, 3, 8, 8), torch.tensor([1.0]), {"": [0.0]})
    save_png(torch.zeros(3, 8, 8), tmp_path / "whole.png")
    with pytest.raises(BadInput, match="there is none; give --measured"):
        drawn(model, STSL(), count=1, steps=1)
    with pytest.raises(BadInput, match="whole.png has 8x8 pixels, and 2x2 are wanted"):
        drawn(model, STSL(measured=tmp_path / "whole.png"), count=1, steps=1)
