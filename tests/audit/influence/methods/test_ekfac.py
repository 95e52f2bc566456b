import pytest
import torch
from torch import nn

from influence_scenes import examples, gradients
from intaglio.audit.influence.factor_fit import FactorFit
from intaglio.audit.influence.kronecker_factors import LayerFactors, inputs_and_gradients, moments, sides
from intaglio.audit.influence.methods.ekfac import EkFac
from intaglio.denoising.examples import Examples
from intaglio.errors import BadInput, IntaglioError
from intaglio.randomness import generator
from intaglio.runs.run import Run

SMALL = {"timesteps": 2, "width": 64, "draws": 1, "micro_batch": 4}
BAD = {"damping": 0.0}
PIECES = {"micro_batch": 1}


def pairs_of(layer, given, weights):
    """Inputs and gradients of a number that is linear in a layer's outputs."""
    return inputs_and_gradients({"one": layer}, lambda: (layer(given) * weights).sum())["one"]


@pytest.mark.parametrize("kind", ["linear", "rows", "convolution"])
def test_inputs_and_gradients_multiply_to_the_gradient_of_each_row(kind):
    source = torch.Generator().manual_seed(1)
    layer = {
        "linear": lambda: nn.Linear(5, 3),
        "rows": lambda: nn.Linear(5, 3, bias=False),
        "convolution": lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1),
    }[kind]()
    shape = {"linear": (4, 7, 5), "rows": (4, 5), "convolution": (4, 2, 6, 6)}[kind]
    given = torch.randn(*shape, generator=source)
    weights = torch.randn(layer(given).shape, generator=source)
    inputs, found = pairs_of(layer, given, weights)
    for row in range(4):
        (expected,) = torch.autograd.grad((layer(given)[row] * weights[row]).sum(), layer.weight)
        mine = (found[row].T @ inputs[row]).view_as(layer.weight)
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-5)
    assert sides(layer) == (3, layer.weight[0].numel())
    assert not layer._forward_hooks


def test_hooks_are_gone_after_an_error_and_layers_that_act_twice_are_refused():
    layer, other = nn.Linear(2, 2), nn.Linear(2, 2)
    given = torch.ones(1, 2)
    with pytest.raises(IntaglioError, match="one acts more than once"):
        inputs_and_gradients({"one": layer}, lambda: layer(layer(given)).sum())
    with pytest.raises(IntaglioError, match="two is not asked"):
        inputs_and_gradients({"one": layer, "two": other}, lambda: layer(given).sum())
    assert not layer._forward_hooks
    assert sides(nn.Conv2d(4, 4, 3, groups=2)) is None
    assert sides(nn.GroupNorm(1, 4)) is None


def test_of_one_linear_layer_it_is_the_first_order_change_of_least_squares():
    """Removal of row i moves the prediction by it / (1 - h_i), h_i the leverage, to the last bit."""
    source = torch.Generator().manual_seed(2)
    x = torch.randn(30, 6, generator=source, dtype=torch.float64)
    y = x @ torch.randn(6, generator=source, dtype=torch.float64) + torch.randn(
        30, generator=source, dtype=torch.float64
    )
    asked, theta = (
        torch.randn(6, generator=source, dtype=torch.float64),
        torch.linalg.lstsq(x, y[:, None]).solution[:, 0],
    )
    hessian = 2 * x.T @ x / 30  # of the mean squared error
    inputs, signs = x[:, None], torch.full((30, 1, 1), 2**0.5, dtype=torch.float64)
    sums = moments({"one": (inputs, signs)})
    factors = LayerFactors.of(sums["one.inputs"], sums["one.outputs"])
    squares = factors.squares(inputs, signs) / 30
    factors = LayerFactors(factors.inputs, factors.outputs, squares)
    errors = y - x @ theta
    of_train = factors.whitened(-2 * errors[:, None, None] * x[:, None], 1e-12)
    of_query = factors.whitened(asked[None, None], 1e-12)  # the gradient of the prediction itself
    tau = (of_train.flatten(1) @ of_query.flatten(1).T)[:, 0] / 30
    leverages = 2 / 30 * (x @ torch.linalg.inv(hessian) * x).sum(1)
    for i in (0, 7, 29):
        others = torch.arange(30) != i
        without = torch.linalg.lstsq(x[others], y[others, None]).solution[:, 0]
        torch.testing.assert_close(tau[i] / (1 - leverages[i]), asked @ (without - theta), rtol=1e-7, atol=1e-9)


def test_corrected_values_come_closer_to_the_curvature_than_products_of_eigenvalues():
    """Where inputs and gradients share a random size, K-FAC takes them for independent; the correction never hurts."""
    source = torch.Generator().manual_seed(3)
    count = 4000
    size = torch.rand(count, 1, 1, generator=source, dtype=torch.float64) * 3
    a = size * torch.randn(count, 1, 3, generator=source, dtype=torch.float64)
    g = size * torch.randn(count, 1, 2, generator=source, dtype=torch.float64)
    flat = (g.transpose(1, 2) @ a).flatten(1)
    fisher = flat.T @ flat / count
    sums = moments({"one": (a, g)})
    factors = LayerFactors.of(sums["one.inputs"], sums["one.outputs"])
    basis = torch.kron(factors.outputs, factors.inputs)

    def error(values):
        return float((basis @ torch.diag(values.flatten()) @ basis.T - fisher).norm() / fisher.norm())

    means = [
        (q.T @ (m / count) @ q).diagonal()
        for q, m in ((factors.outputs, sums["one.outputs"]), (factors.inputs, sums["one.inputs"]))
    ]
    plain, corrected = error(torch.outer(*means)), error(factors.squares(a, g) / count)
    assert corrected < 0.6 * plain
    assert plain > 0.3


def test_numbers_are_whitened_gradients_of_all_layers_over_the_number_of_pictures():
    """With so much damping that the curvature has no part but its mean, layer by layer."""
    net, train, queries = examples()
    method = EkFac(timesteps=2, width=0, damping=1e6, draws=1)

    def loss(z, noise, t, text):
        return net.error(z, noise, t, text).mean()

    phi, asked = (gradients(net, one, loss, timesteps=[0, 500]) for one in (train, queries))
    found = method(net, train, queries).tau
    sizes = list(method.sizes(net).values())
    means = [float(one.values.mean()) for one in method._factors(net, train, Run.none()).values()]
    scales = torch.cat([torch.full((size,), 1 / (1e6 * mean)) for size, mean in zip(sizes, means, strict=True)])
    torch.testing.assert_close(found, asked * scales @ phi.T / 4, rtol=2e-3, atol=1e-12)


def test_values_are_the_mean_squares_of_single_gradients_in_the_eigenbases():
    net, train, _ = examples()
    method = EkFac(timesteps=1, draws=1)
    weights = dict(net.denoiser.named_parameters())
    factors = method._factors(net, train, Run.none())
    name = next(iter(factors))
    total = torch.zeros_like(factors[name].values)
    for place, asked in enumerate(train.asked):
        source = generator(0, "ekfac", *asked, 0)
        z = train.latents[[place]]
        signs = torch.randint(2, z.shape, generator=source) * 2.0 - 1
        noise, t = next(method.noised(net, tuple(z.shape[1:])))
        out = net.output(net.noised(z, noise, t), t, net.embed([asked[1]]))
        (row,) = torch.autograd.grad((2 / z.numel()) ** 0.5 * (signs * out).sum(), weights[name])
        total += (factors[name].outputs.T @ row.double() @ factors[name].inputs).square()
    torch.testing.assert_close(factors[name].values, total / 4, rtol=1e-3, atol=1e-12)


def test_layers_that_are_too_wide_are_left_out_and_none_is_refused():
    net, train, queries = examples()
    every = EkFac(weights="all", side=4096).sizes(net)
    widest = {
        name: max(net.denoiser.get_parameter(name)[0].numel(), len(net.denoiser.get_parameter(name))) for name in every
    }
    assert all(net.denoiser.get_parameter(name).ndim in (2, 4) for name in every)
    limit = sorted(set(widest.values()))[0]
    assert set(EkFac(weights="all", side=limit).sizes(net)) == {name for name, side in widest.items() if side <= limit}
    with pytest.raises(BadInput, match="sides of at most 1; give a larger --side"):
        EkFac(side=1)(net, train, queries)
    for bad in ({"damping": float("nan")}, {"draws": 0}, {"side": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            EkFac(**bad)


def opened(folder):
    inputs = {"model": {"path": "x", "sha256": "0" * 64}}
    return Run.open(folder, "verb", "m", {}, inputs, seed=0, device="cpu", command=(), progress="none")


def test_factors_that_were_begun_are_gone_on_with_and_end_the_same(tmp_path, monkeypatch):
    net, train, _ = examples()
    method, made, original = EkFac(timesteps=1, draws=1), [], FactorFit._pairs
    monkeypatch.setattr("intaglio.audit.influence.factor_fit.SAVE_EVERY_S", 0)

    def stopped(self, model, layers, latent, asked):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(asked)
        return original(self, model, layers, latent, asked)

    with opened(tmp_path) as run:
        monkeypatch.setattr(FactorFit, "_pairs", stopped)
        with pytest.raises(KeyboardInterrupt):
            method._factors(net, train, run)
        monkeypatch.setattr(FactorFit, "_pairs", lambda self, *given: made.append(given[-1]) or original(self, *given))
        found = method._factors(net, train, run)
        assert len(made) == 8, "four pictures in each of two passes, each once"
        for name, one in method._factors(net, train, Run.none()).items():
            torch.testing.assert_close(found[name].values, one.values, rtol=0, atol=0)
        few = Examples(train.images[[0, 1]], train.prompts[:2], train.latents[:2])
        assert method._state(net, few.asked, "moments") != method._state(net, train.asked, "moments")
        assert method.depends(train.asked) == method.depends(train.asked[::-1]) != method.depends(few.asked)


def test_another_seed_draws_other_signs():
    net, train, _ = examples()
    one, other = (EkFac(timesteps=1, draws=1, seed=seed) for seed in (0, 1))
    object.__setattr__(other, "noised", one.noised)  # the same noises, so that the signs alone differ
    values = [next(iter(method._factors(net, train, Run.none()).values())).values for method in (one, other)]
    assert not torch.allclose(*values, rtol=1e-3)
