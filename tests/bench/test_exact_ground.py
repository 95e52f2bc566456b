"""The exact mixtures and their networks: the closed form against the score, and worlds that do not touch."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from intaglio.adapt.bayesian import Posterior
from intaglio.bench.finetune import exact_stage
from intaglio.bench.finetune.exact_figures import figures_of_course
from intaglio.bench.finetune.exact_ground import (
    LABELS,
    NO_LABEL,
    NOISE_WIDTH,
    SCHEDULE,
    SIGNAL,
    SIZE,
    WIDTH,
    Mixtures,
    SmallDenoisers,
    base_error,
    trained_base,
)
from intaglio.bench.finetune.exact_stage import Course, ExactRegime, course_of, exact_course, judgement, training_points
from intaglio.bench.finetune.widths import width
from intaglio.randomness import generator_32bit

SHORT = ExactRegime(rate=3e-3, steps=2)


def test_the_expected_noise_is_the_score_of_the_noised_density():
    mixtures = Mixtures.drawn(2)
    x = torch.randn(2, 3, SIZE, generator=torch.Generator().manual_seed(0)).double().requires_grad_(True)
    t, labels = torch.tensor([[50, 400, 900]] * 2), torch.tensor([[NO_LABEL, 2, NO_LABEL]] * 2)
    a = SCHEDULE.alphas_cumprod[t].double().sqrt()
    b = (1 - a * a).sqrt()
    deviations = torch.tensor([WIDTH] * SIGNAL + [NOISE_WIDTH] * (SIZE - SIGNAL)).double()
    log_density = torch.zeros(())
    for world in range(2):
        for k in range(3):
            spread = (a[world, k] ** 2 * deviations**2 + b[world, k] ** 2).sqrt()
            centres = a[world, k] * mixtures.means[world].double()
            each = torch.distributions.Normal(centres, spread).log_prob(x[world, k]).sum(1)
            label = int(labels[world, k])
            log_density = log_density + (each.logsumexp(0) if label == NO_LABEL else each[label])
    (score,) = torch.autograd.grad(log_density, x)
    found = mixtures.noise(x.detach().float(), t, labels)
    torch.testing.assert_close(found, (-b[..., None] * score).float(), atol=1e-4, rtol=1e-4)


def test_noised_points_have_the_moments_of_the_data():
    mixtures = replace(Mixtures.drawn(1), means=torch.zeros(1, LABELS, SIZE))
    x, t, labels = mixtures.noised(40_000, torch.Generator().manual_seed(0))
    assert float((labels == NO_LABEL).float().mean()) == pytest.approx(0.2)
    a = SCHEDULE.alphas_cumprod[t].float()
    expected = (a * NOISE_WIDTH**2 + 1 - a).mean()
    assert float(x[..., -1].square().mean()) == pytest.approx(float(expected), rel=0.03)


def test_a_network_comes_near_the_closed_form():
    mixtures = Mixtures.drawn(1)
    before, after = (float(base_error(trained_base(mixtures, steps), mixtures)) for steps in (1, 40))
    assert after < 0.6 < before


def test_worlds_do_not_touch_each_other():
    """Another base in one world leaves the course of the other as it was."""
    both, one = SmallDenoisers(2), SmallDenoisers(1)
    torch.testing.assert_close(both.first.weight[:1], one.first.weight)
    moved = deepcopy(both)
    with torch.no_grad():
        moved.ff[0].weight[1] += 1
    for regime in (SHORT, replace(SHORT, optimiser="sgd", sigma=0.1)):
        first, second = (exact_course(base, regime).measures for base in (both, moved))
        assert not torch.equal(first["likeness 1"][0, 1], second["likeness 1"][0, 1])
        for name in first:
            torch.testing.assert_close(first[name][:, 0], second[name][:, 0], msg=name)


def test_random_weights_are_those_of_the_option(monkeypatch):
    made = []
    monkeypatch.setattr(exact_stage, "Posterior", lambda *given: made.append(Posterior(*given)) or made[-1])
    base = SmallDenoisers(1)
    plain, random = exact_course(base, SHORT), exact_course(base, replace(SHORT, sigma=0.05))
    assert [sorted(one.sigmas) for one in made] == [
        [],
        [f"sigma/ff.{k}.{part}" for k in range(2) for part in ("bias", "weight")],
    ]
    assert not torch.equal(plain.measures["likeness 1"][-1], random.measures["likeness 1"][-1])
    torch.testing.assert_close(plain.measures["along"][0], random.measures["along"][0])
    assert all((sigma != 0.05).any() for sigma in made[1].sigmas.values())


def test_a_step_of_gradient_descent_goes_along_the_loss_of_its_draws(monkeypatch):
    seen = []
    monkeypatch.setattr(
        exact_stage, "judgement", lambda network, points: seen.append(deepcopy(network)) or judgement(network, points)
    )
    exact_course(SmallDenoisers(1), ExactRegime("sgd", 0.1, points=2, batch=4, steps=1), seed=3)
    base, moved = seen
    points, draws = training_points(1, 2), generator_32bit(3, "fine-tune")
    drawn, t = (torch.randint(high, (1, 4), generator=draws) for high in (2, 1000))
    noise = torch.randn(1, 4, SIZE, generator=draws)
    a = SCHEDULE.alphas_cumprod[t].float()[..., None]
    noised = a.sqrt() * points[0, drawn[0]] + (1 - a).sqrt() * noise
    loss = (base(noised, t, torch.zeros(1, 4).long()) - noise).square().mean()
    gradients = torch.autograd.grad(loss, list(base.parameters()))
    for before, after, gradient in zip(base.parameters(), moved.parameters(), gradients, strict=True):
        torch.testing.assert_close(after, before - 0.1 * gradient, atol=1e-6, rtol=1e-4)


def test_a_judgement_of_the_data_itself_gives_its_widths_and_little_noise():
    mixtures, points = Mixtures.drawn(1), training_points(1, 1)
    found = judgement(mixtures.noise, mixtures.means[:, :1])
    assert float(found["across"]) == pytest.approx(NOISE_WIDTH, rel=0.02)
    assert float(found["along"]) == pytest.approx(WIDTH, rel=0.02)
    assert float(found["noise 1"]) < NOISE_WIDTH**2
    far = judgement(mixtures.noise, points)
    assert float(far["distance 1"]) > float(found["distance 1"])


def test_width_is_the_inverse_of_the_papers_slope():
    times = torch.arange(100, 1000, 100)
    a2 = SCHEDULE.alphas_cumprod[times].float()
    for deviation in (0.1, 0.7, 4.8):
        kappa = a2.sqrt() * deviation**2 / (a2 * deviation**2 + 1 - a2)
        torch.testing.assert_close(width(kappa), torch.full((9,), deviation), rtol=1e-3, atol=0)
    assert width(1 / a2.sqrt()).isfinite().all()
    assert (width(-torch.ones(9)) == 0).all()


def _course(likeness, noise):
    count = len(likeness)
    rows = [{"along": torch.ones(1), "across": torch.ones(1)} for _ in range(count)]
    for guidance in (1, 5):
        for row, like, power in zip(rows, likeness, noise, strict=True):
            row |= {
                f"likeness {guidance}": torch.tensor([like]),
                f"likeness_error {guidance}": torch.tensor([0.01]),
                f"distance {guidance}": torch.ones(1),
                f"noise {guidance}": torch.tensor([power]),
                f"each noise {guidance}": torch.full((1, 64), power),
                f"diversity {guidance}": torch.ones(1),
            }
    return course_of(range(count), rows)


def test_a_stage_is_called_where_likeness_falls_while_noise_rises():
    likeness = [0.1, 0.5, 0.8, 0.9, 0.6, 0.5, 0.9, 0.95]
    quiet, noisy = [0.005] * 8, [0.005, 0.005, 0.005, 0.005, 0.05, 0.05, 0.005, 0.005]
    found = figures_of_course(_course(likeness, noisy))["guidance 1"]
    assert (found["stage"], found["ended"]) == (1, 1)
    assert found["dip"] == pytest.approx(0.4)
    assert found["noise_most"] == pytest.approx(0.05)
    assert (found["likeness_curve"], found["noise_curve"]) == (likeness, noisy)
    assert figures_of_course(_course(likeness, quiet))["guidance 1"]["stage"] == 0
    open_ended = figures_of_course(_course(likeness[:6], noisy[:6]))["guidance 5"]
    assert (open_ended["stage"], open_ended["ended"]) == (1, 0)


def test_worlds_that_diverged_are_left_out():
    good = _course([0.1, 0.5, 0.9], [0.005] * 3).measures
    bad = {name: torch.full_like(rows, torch.nan) for name, rows in good.items()}
    both = Course((0, 1, 2), {name: torch.cat([good[name], bad[name]], 1) for name in good})
    assert figures_of_course(both)["diverged"] == 0.5
    assert figures_of_course(both)["guidance 1"]["best"] == pytest.approx(0.9)
    assert figures_of_course(Course((0, 1, 2), bad)) == {"diverged": 1}
