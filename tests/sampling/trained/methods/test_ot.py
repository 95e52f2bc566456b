import math

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch.distributions import Normal

import tiny
from exact_draws import ExactMixture, drawn
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.sampling.grid import level_at
from intaglio.sampling.methods.plain import Plain
from intaglio.sampling.start import FittedStart
from intaglio.sampling.starts.transport import TransportStart, cells_of
from intaglio.sampling.trained.methods import ot
from intaglio.sampling.trained.methods.ot import OptimalTransport, state_timestep
from intaglio.sampling.trained.semi_discrete import HeightFit, fit_heights, most_points, shares

SMALL = {"states": 4, "steps": 2, "batch": 2, "rounds": 3, "samples": 50}
BAD = {"fresh": 2.0}
PIECES = {"batch": 1}

MODES = ExactMixture(torch.tensor([[[[-2.0]]], [[[2.0]]]]), torch.tensor([0.02, 0.02]), {"": [0.0, 0.0]})
"""Two narrow modes."""


def fitted(points, source="uniform", rounds=500, samples=2000, rate=0.02, tolerance=1e-9):
    return fit_heights(points, HeightFit(rounds, samples, rate, tolerance, source, 0), Run.none())


@pytest.mark.parametrize("source", ["uniform", "normal"])
def test_heights_on_a_line_are_those_of_equal_quantiles(source):
    """Cells i and i+1 of sorted y meet at x = (h_i - h_(i+1)) / (y_(i+1) - y_i), which must be the quantile i / N."""
    y = torch.tensor([-0.7, -0.2, 0.1, 0.9, 1.6])
    heights, _ = fitted(y[:, None], source)
    borders = torch.arange(1, 5) / 5 if source == "uniform" else Normal(0.0, 1.0).icdf(torch.arange(1, 5) / 5)
    exact = torch.cat([torch.zeros(1), ((y[:-1] - y[1:]) * borders).cumsum(0)])
    assert torch.allclose(heights.float(), exact - exact.mean(), atol=0.02)
    assert heights.mean().abs() < 1e-12


def test_the_shares_less_one_over_n_are_the_gradient_of_a_convex_function():
    points = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    h = torch.randn(6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = torch.randn(4000, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def objective(heights):
        return float((x @ points.T + heights).max(1).values.mean() - heights.mean())

    share = torch.bincount(cells_of(x, points, h), minlength=6).double() / len(x)
    for i in range(6):
        step = torch.zeros(6, dtype=torch.float64)
        step[i] = 1e-7
        assert (objective(h + step) - objective(h - step)) / 2e-7 == pytest.approx(float(share[i] - 1 / 6), abs=1e-4)


def test_the_cells_are_the_cheapest_of_all_balanced_assignments():
    """Beside the Hungarian method on the same samples, each of four points taking a quarter of them."""
    points = torch.tensor([[0.0, 0.0], [1.0, 0.5], [0.3, 2.0], [-1.0, -0.2]])
    heights, _ = fitted(points, "normal", samples=4000)
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(7))
    cells = cells_of(x.double(), points.double(), heights)
    cost = torch.cdist(x, points).square()
    rows, columns = linear_sum_assignment(cost.repeat_interleave(100, 1).numpy())
    best = torch.from_numpy(columns // 100)
    assert torch.equal(torch.from_numpy(rows), torch.arange(400))
    assert (cells == best).float().mean() > 0.85, "they differ only where samples fall unevenly"
    moved = cost[torch.arange(400), cells].mean()
    assert moved == pytest.approx(float(cost[torch.arange(400), best].mean()), abs=0.1)
    assert moved < cost.gather(1, torch.arange(400)[:, None] % 4).mean() - 0.5


def test_the_fit_ends_where_the_gradient_is_small_and_no_cell_is_empty():
    points = torch.tensor([[-1.0], [1.0]])
    _, figures = fitted(points, "normal", rounds=50, tolerance=0.1)
    assert figures["rounds"] < 5
    assert figures["norm"] <= 0.1
    far = torch.tensor([[0.0], [0.01], [0.02]])  # only the outer cells meet at first
    assert fitted(far, "uniform", rounds=2, samples=4, tolerance=10.0)[1]["rounds"] > 0


def test_the_rate_falls_and_the_samples_double_three_times_at_most():
    _, figures = fitted(torch.tensor([[-1.0], [1.0], [3.0]]), "normal", rounds=900, samples=10)
    assert figures["samples"] == 80


def test_the_timestep_of_the_states_leaves_the_share_of_noise_that_is_fresh():
    schedule = MODES.schedule
    assert state_timestep(schedule, 700, 0.0) == 700
    assert state_timestep(schedule, 700, 1.0) == -1
    ratio = level_at(schedule, 700).ratio
    found = level_at(schedule, state_timestep(schedule, 700, 0.3)).ratio
    assert found**2 == pytest.approx(0.7 * ratio**2, rel=0.01)


def trained(model=MODES, **changes):
    settings = {"states": 100, "steps": 20, "scale": 1.0, "batch": 100, "rounds": 300, "samples": 1000, **changes}
    return OptimalTransport(**settings)(model, [""])


def test_a_start_is_a_state_with_the_noise_that_it_lacks():
    part = trained(states=2, fresh=0.6, rounds=200)
    start = TransportStart.of(part, MODES, None)
    level, at = level_at(MODES.schedule, 700), level_at(MODES.schedule, part.facts["states_at"])
    noise = torch.randn(20000, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    found = start.from_noise(noise, level).flatten()
    cells = cells_of(
        noise[:, 0].flatten(1).double(), part.tensors["states"].flatten(1).double(), part.tensors["heights"]
    )
    for k in range(2):
        own = found[cells == k] * at.signal / level.signal
        assert float(own.mean()) == pytest.approx(float(part.tensors["states"][k]), abs=0.05)
        whole = level.noise**2 / level.signal**2
        assert float(own.var() / at.signal**2) == pytest.approx(0.6 * whole, rel=0.06)
        assert (cells == k).float().mean() == pytest.approx(0.5, abs=0.05)


def test_without_fresh_noise_there_are_as_many_starts_as_states():
    part = trained(states=5, fresh=0.0)
    found = drawn(MODES, Plain(), count=60, steps=2, start=TransportStart.of(part, MODES, None))
    assert len(found.unique()) <= 5
    part = trained(states=5, fresh=0.5)
    assert len(drawn(MODES, Plain(), count=60, steps=2, start=TransportStart.of(part, MODES, None)).unique()) == 60


def between(found):
    return float((found.abs() < 1.5).float().mean())


def test_fewer_pictures_lie_between_two_modes_at_as_few_steps():
    start = TransportStart.of(trained(fresh=0.3), MODES, None)
    ours = drawn(MODES, Plain(), count=2000, steps=3, start=start).flatten()
    assert between(ours) < between(drawn(MODES, Plain(), count=2000, steps=3).flatten()) / 2
    assert float((ours > 0).float().mean()) == pytest.approx(0.5, abs=0.12), (
        "100 states, half in each mode up to chance"
    )


def test_clean_states_that_are_noised_have_the_law_of_noised_data():
    """With all of the noise fresh, the start is s y + n ξ of the model's own pictures y: normal for normal data."""
    normal = ExactMixture(torch.tensor([[[[1.0]]]]), torch.tensor([0.5]), {"": [0.0]})
    part = trained(normal, states=400, fresh=1.0, steps=30, batch=400, rounds=150)
    assert part.facts["states_at"] == -1
    found = drawn(normal, Plain(), count=2000, steps=40, start=TransportStart.of(part, normal, None)).double()
    assert float(found.mean()) == pytest.approx(1.0, abs=0.12)
    assert float(found.var()) == pytest.approx(0.5, abs=0.09)


def test_every_state_is_drawn_as_often_and_the_figures_say_so():
    part = trained(states=10, rounds=800, samples=4000, rate=0.05)
    share = shares(part.tensors["states"].flatten(1), part.tensors["heights"], "normal", 50000, 3, "test")
    assert torch.allclose(share, torch.full_like(share, 0.1), atol=0.02)
    assert part.facts["empty"] == 0
    assert part.facts["variation"] < 0.1
    flat = shares(part.tensors["states"].flatten(1), torch.zeros(10), "normal", 50000, 3, "test")
    assert (flat - 0.1).abs().max() > 0.05, "without heights they are not"


def test_it_begins_there_and_not_where_its_states_have_more_noise():
    part = trained(states=2, rounds=1)
    start = TransportStart.of(part, MODES, None)
    assert isinstance(start, FittedStart)
    assert (start.first, start.hash, start.noises) == (700, part.hash, 2)
    assert TransportStart.of(part, MODES, 900).first == 900
    with pytest.raises(BadInput, match=f"states at timestep {part.facts['states_at']}, and cannot begin at 10"):
        TransportStart.of(part, MODES, 10)
    with pytest.raises(BadInput, match="holds no states of"):
        TransportStart.of(part, ExactMixture(torch.zeros(1, 2, 1, 1), torch.ones(1), {"": [0.0]}), None)


def test_calls_are_those_of_the_states():
    assert OptimalTransport(states=10, steps=4).planned(MODES, [""]) == Calls(forward=80)
    assert OptimalTransport(states=10, steps=4, scale=1.0).planned(MODES, [""]) == Calls(forward=40)


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"from_step": 1000}, "cannot start at timestep 1000"), ({"steps": 600}, "timesteps lead to the states at")],
)
def test_what_cannot_be_trained_is_refused(settings, said):
    with pytest.raises(BadInput, match=said):
        OptimalTransport(**settings)(MODES, [""])


@pytest.mark.parametrize(
    "change", [{"states": 1}, {"rate": math.nan}, {"tolerance": 0.0}, {"scale": -1.0}, {"steps": 0}]
)
def test_a_wrong_setting_is_refused_by_its_name(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        OptimalTransport(**change)


@pytest.mark.parametrize(("rounds", "points"), [(50, 50), (60, 50 + 20), (150, 50 * 7), (1000, 50 * 7 + 850 * 8)])
def test_points_of_all_rounds_double_as_soon_as_they_can(rounds, points):
    assert most_points(rounds, 10) == 10 * points


def test_the_heights_are_planned_beside_the_calls(tmp_path, monkeypatch):
    monkeypatch.setattr(ot, "seconds_of", lambda call, device: 0.5 * len(call()))
    small = OptimalTransport(states=4, samples=10, rounds=60)
    model = load_model(tiny.sd_folder(tmp_path / "m"))
    # 4 shares of 10 points take 2 s, so that a point takes 0.2
    assert small.seconds_beside(model) == pytest.approx({"heights": 0.2 * 700, "judged heights": 0.2 * 50 * 4})
