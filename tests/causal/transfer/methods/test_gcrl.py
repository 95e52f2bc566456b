"""GCRL: its objective by quadrature and by hand, its parts that move, and planted causes."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from intaglio.causal.transfer.environment_rows import held_out
from intaglio.causal.transfer.latent_agreement import weak_mcc
from intaglio.causal.transfer.methods.gcrl import GCRL, log_mixture, log_normal, outcome_bound
from intaglio.causal.transfer.transfer_network import RowBatch
from intaglio.randomness import generator
from transfer_scenes import planted

SMALL = {
    "updates": 3,
    "refit_updates": 3,
    "labelled": 2,
    "hidden": 4,
    "batch": 16,
    "invariant": 2,
    "variant": 1,
    "draws": 2,
}
BAD = {"components": 1}
PIECES = {}
VARIANTS = {"published": {"SMALL": {"components": 3, "chained": False}, "BAD": {"draws": 0}, "PIECES": {}}}


def test_the_bound_is_that_of_exponentials_where_these_do_not_underflow():
    log_y, rest = -2 * torch.rand(10, 3, generator=generator(0)), torch.randn(10, 3, generator=generator(1))
    p = log_y.exp()
    expected = p.mean(0).log() + (p * rest).mean(0) / p.mean(0)
    torch.testing.assert_close(outcome_bound(log_y, rest), expected)


def test_the_bound_holds_where_every_probability_underflows():
    log_y = torch.tensor([[-2000.0], [-2001.0]])
    found = outcome_bound(log_y, torch.tensor([[1.0], [3.0]]))
    share = 1 / (1 + np.e)
    expected = -2000 + np.log1p(np.exp(-1)) - np.log(2) + (1 - share) + 3 * share
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_the_mixture_is_that_of_scipy_and_holds_where_densities_underflow():
    means, logs, shares = torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [0.5]]), torch.tensor([0.3, -0.3])
    weights = shares.softmax(0).numpy()
    values = torch.tensor([[1.0], [-3.0]])
    density = sum(
        w * norm.pdf(values.numpy()[:, 0], m, s) for w, m, s in zip(weights, (0, 2), (1, np.exp(0.5)), strict=True)
    )
    np.testing.assert_allclose(log_mixture(values, means, logs, shares).numpy(), np.log(density), rtol=1e-5)
    assert np.isfinite(float(log_mixture(torch.tensor([[1e3]]), means, logs, shares)))


@pytest.mark.parametrize("components", [0, 2])
def test_the_objective_in_one_dimension_is_that_of_quadrature(components):
    """One number z, one number s: the mean over many samples against sums over a grid of both."""
    settings = GCRL(invariant=1, variant=1, hidden=0, draws=1000, components=components)
    network = settings.network(2, 2, 2)
    with torch.no_grad():
        network.prior_means.copy_(torch.tensor([[-0.5], [1.0]]))
        network.prior_shares.copy_(torch.tensor([0.2, -0.2]))
        for name, weight in network.named_parameters():
            if name.endswith("linear.weight"):
                weight.mul_(0.5)
        for encoder in (network.encode_placed or network.encode_s, network.encode_z):
            encoder.linear.bias[1] = -0.7
    many = 100
    rows = RowBatch(torch.tensor([[0.4, -0.8]] * many), torch.tensor([1] * many), torch.tensor([1] * many))
    by_samples = float(network(rows, generator(0)).mean().detach())
    assert by_samples == pytest.approx(_by_grid(network, rows, components), abs=0.02)


def _by_grid(network, rows, components):
    x = rows.features.double().numpy()[0]
    of = {name: (one.linear.weight.detach().double().numpy(), one.linear.bias.detach().double().numpy())
          for name, one in network.named_children()}  # fmt: skip
    ws, bs = of["encode_s" if components else "encode_placed"]
    told = ws @ (x if components else [*x, 0, 1]) + bs
    mean_s, sd_s = told[0], np.exp(told[1])
    s = np.linspace(mean_s - 8 * sd_s, mean_s + 8 * sd_s, 801)
    wz, bz = of["encode_z"]
    mean_z = wz[0, :2] @ x + wz[0, 2] * s + bz[0]
    sd_z = np.exp(wz[1, :2] @ x + wz[1, 2] * s + bz[1])
    u = np.linspace(-8, 8, 801)
    z = mean_z[:, None] + sd_z[:, None] * u
    q = norm.pdf(s, mean_s, sd_s)[:, None] * norm.pdf(u) * (s[1] - s[0]) * (u[1] - u[0])
    both = np.stack([z, np.broadcast_to(s[:, None], z.shape)], -1)
    seen = both @ of["decode_row"][0].T + of["decode_row"][1]
    rest = norm.logpdf(x, seen, 1).sum(-1) + norm.logpdf(z) - norm.logpdf(z, mean_z[:, None], sd_z[:, None])
    means = network.prior_means.detach().numpy()[:, 0]
    shares = network.prior_shares.softmax(0).detach().numpy()
    prior = (
        np.log(sum(w * norm.pdf(s, m, 1) for w, m in zip(shares, means, strict=True)))
        if components
        else norm.logpdf(s, means[1])
    )
    rest += (prior - norm.logpdf(s, mean_s, sd_s))[:, None]
    logits = both @ of["decode_outcome"][0].T + of["decode_outcome"][1]
    p = np.exp(logits[..., 1] - np.logaddexp(logits[..., 0], logits[..., 1]))
    return np.log((q * p).sum()) + (q * p * rest).sum() / (q * p).sum()


def test_planted_causes_are_found_up_to_an_affine_map_and_the_means_of_s_in_order():
    rows, z, s = planted(120, 0)
    method = GCRL(invariant=2, variant=1, hidden=0, rate=0.05, updates=260, draws=2, batch=128)
    task = held_out(rows, "far")
    network = method.trained(task)
    found = {name: one.double().numpy() for name, one in network.latents(task.rows.features).items()}
    assert weak_mcc(z[:360], found["Z"]) > 0.95
    assert weak_mcc(s[:360], found["S"]) > 0.95
    means = network.prior_means.detach().numpy()[:, 0]
    assert np.argsort(means).tolist() in ([0, 1, 2], [2, 1, 0])


def test_a_refit_moves_the_prior_of_s_and_its_encoder_alone():
    rows = planted(12, 0)[0]
    method = GCRL(**SMALL)
    task = held_out(rows, "far")
    network = method.trained(task)
    before = {name: one.clone() for name, one in network.named_parameters()}
    method._stage(network, network.refit_weights(), method._refit(network, task), 3, "refitted", _none())
    moved = {name for name, one in network.named_parameters() if not torch.equal(one, before[name])}
    assert moved == {name for name in before if name.startswith(("encode_s", "prior_"))}


def _none():
    from intaglio.runs.run import Run

    return Run.none()


def test_a_far_environment_is_predicted_better_once_its_rows_are_known():
    rows = _shortcut()
    sizes = {"invariant": 2, "variant": 1, "draws": 2, "batch": 64, "hidden": 0}
    method = GCRL(**sizes, rate=0.05, updates=250, refit_updates=150, checks=False)
    found = method(rows, "far")
    assert found.accuracy["refitted"] > found.accuracy["zero-shot"] + 0.04


def _shortcut():
    """Clean sums of Z and S, noisy Z and noisy S: where S is known to vary little, the sums tell Z best."""
    from intaglio.bench.transfer.planted_shift import planted_shift

    return planted_shift(200, 0).rows


def test_the_encoder_without_environments_learns_alone_from_its_part_of_the_loss():
    network = GCRL(invariant=1, variant=1, hidden=0).network(2, 2, 2)
    rows = RowBatch(torch.randn(4, 2, generator=generator(0)), torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 0, 1]))
    (-network(rows, generator(1)).mean()).backward()
    placed = {name: one.grad for name, one in network.named_parameters()}
    network.zero_grad()
    network.loss(rows, generator(1)).backward()
    moved = {name for name, one in network.named_parameters() if not _alike(one.grad, placed[name])}
    assert moved == {"encode_s.linear.weight", "encode_s.linear.bias"}


def _alike(one, two):
    return (one is None and two is None) or (
        one is not None and two is not None and torch.allclose(one, two, atol=1e-5)
    )


def test_rows_of_a_known_environment_have_its_prior_and_others_the_mixture():
    network = GCRL(invariant=1, variant=1, hidden=0).network(2, 2, 2)
    s = torch.tensor([[[0.5]]])
    own = network._log_prior(s, torch.tensor([1]))
    torch.testing.assert_close(own, log_normal(s, network.prior_means[1], network.prior_logs[1]))
    mixed = network._log_prior(s, None)
    torch.testing.assert_close(mixed, log_mixture(s, network.prior_means, network.prior_logs, network.prior_shares))
    torch.testing.assert_close(
        GCRL(invariant=1, variant=1, hidden=0, components=2).network(2, 2, 2)._log_prior(s, torch.tensor([1])), mixed
    )


def test_probabilities_of_a_row_do_not_depend_on_the_others():
    network = GCRL(hidden=3).network(4, 3, 2)
    rows = torch.randn(6, 4, generator=generator(0))
    torch.testing.assert_close(network.probabilities(rows)[2:4], network.probabilities(rows[2:4]))
    assert network.probabilities(rows).sum(1).sub(1).abs().max() < 1e-5
