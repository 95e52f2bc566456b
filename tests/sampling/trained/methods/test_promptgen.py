import math

import pytest
import torch

import tiny
from exact_draws import drawn
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.grid import level_at, timestep_grid
from intaglio.sampling.start import FittedStart
from intaglio.sampling.starts.led_noise import LedNoise
from intaglio.sampling.starts.noise_flow import NoiseFlow
from intaglio.sampling.trained.methods.promptgen import PromptGen, _Pictures
from intaglio.sampling.verifiers.colour_share import ColourShare

SMALL = {"verifier": "colour:blue", "steps": 2, "updates": 3, "batch": 2, "blocks": 2, "width": 8, "judged": 2}
BAD = {"weight": 0.0}
PIECES = {"at_once": 1}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("models") / "sd"))


def stirred(size=6, blocks=4):
    flow = NoiseFlow(size, blocks, 16, 3)
    with torch.no_grad():
        for place, weight in enumerate(flow.parameters()):
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(place)) * 0.2)
    return flow


def test_a_flow_is_the_identity_at_first():
    x = torch.randn(5, 7)
    y, logdet = NoiseFlow(7, 3, 8, 0)(x)
    assert torch.equal(y, x)
    assert torch.equal(logdet, torch.zeros(5))


def test_the_determinant_is_that_of_the_jacobian_and_the_inverse_leads_back():
    flow, x = stirred(), torch.randn(3, 6, generator=torch.Generator().manual_seed(9))
    y, logdet = flow(x)
    for row in range(3):
        jacobian = torch.autograd.functional.jacobian(lambda one: flow(one[None])[0][0], x[row])
        assert float(torch.linalg.slogdet(jacobian)[1]) == pytest.approx(float(logdet[row].detach()), abs=1e-4)
    assert (y - x).abs().max() > 0.3
    assert torch.allclose(flow.inverse(y), x, atol=1e-5)


@pytest.mark.parametrize("size", [2, 5])
def test_two_couplings_move_every_number(size):
    flow, x = stirred(size, blocks=2), torch.randn(4, size, generator=torch.Generator().manual_seed(4))
    assert ((flow(x)[0] - x).abs().amin(0) > 0).all()


def test_a_quadratic_energy_is_led_to_its_gaussian():
    """Energy λ‖Aζ - b‖² / 2: precision P = I + λAᵀA, mean P⁻¹λAᵀb, and the loss is d/2 - log Z in the best case.

    With U = energy + ½‖ζ‖² the loss is the divergence plus d/2 - log (∫ exp(-U) / (2π)^(d/2)).
    """
    a, b, weight = torch.tensor([[1.0, 0.5]]), torch.tensor([1.5]), 3.0
    precision = torch.eye(2) + weight * a.T @ a
    mean = torch.linalg.solve(precision, weight * a.T @ b)
    flow = NoiseFlow(2, 4, 16, 0)
    trainer = PromptGen(updates=300, batch=128, learning_rate=1e-2)

    def energy(z, first):
        return weight * (z @ a.T - b).square().sum(1) / 2

    trainer.fit(flow, energy, 2)
    with torch.no_grad():
        noise = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(5))
        found, logdet = flow(noise)
        loss = float((energy(found, 0) + found.square().sum(1) / 2 - logdet).mean())
    constant = float(weight * (b @ b) / 2 - mean @ precision @ mean / 2)
    best = 1.0 + constant + float(torch.logdet(precision)) / 2
    assert torch.allclose(found.mean(0), mean, atol=0.06)
    assert torch.allclose(torch.cov(found.T), torch.linalg.inv(precision), atol=0.06)
    assert best - 0.02 < loss < best + 0.05
    assert math.isfinite(loss)


def test_the_picture_of_a_noise_is_the_samplers_own(model):
    grid, colour = timestep_grid(model.schedule, 3), ColourShare("blue")
    picture = _Pictures(model, ("red cat",), grid, 2.0, (tiny.CHANNELS, 8, 8))

    class Given:
        first, hash = None, None

        def __call__(self, context, level, rows, generators):
            return start.view(1, -1, 8, 8).double()

    start = torch.randn(1, tiny.CHANNELS * 64, generator=torch.Generator().manual_seed(0))
    latents = drawn(model, prompt="red cat", count=1, steps=3, scale=2.0, start=Given())
    with torch.no_grad(), model.frozen():
        wanted = colour(model.decode(latents, clamp=False), [""])
        assert torch.allclose(picture.scores(start, 0, colour), wanted, atol=1e-5)


def test_the_gradient_comes_through_all_steps(model):
    grid, colour = timestep_grid(model.schedule, 2), ColourShare("blue")
    picture = _Pictures(model, ("",), grid, 1.0, (tiny.CHANNELS, 8, 8))
    x = torch.randn(1, tiny.CHANNELS * 64, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    way = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    with model.frozen():
        (gradient,) = torch.autograd.grad(picture.scores(x, 0, colour).sum(), x)
        with torch.no_grad():
            ahead, behind = (float(picture.scores(x + sign * 1e-2 * way, 0, colour)) for sign in (1, -1))
    assert float((gradient * way).sum()) == pytest.approx((ahead - behind) / 2e-2, rel=0.05)


def test_the_start_is_the_flow_of_the_pictures_own_noise_at_its_own_steps(model, tmp_path):
    part = PromptGen(**SMALL, learning_rate=0.05)(model, ["red cat"])
    start = LedNoise.of(part, model, None)
    assert isinstance(start, FittedStart)
    flow = NoiseFlow(tiny.CHANNELS * 64, 2, 8, 0)
    flow.load_state_dict(dict(part.tensors))
    noise, level = torch.randn(2, tiny.CHANNELS, 8, 8), level_at(model.schedule, 999)
    with torch.no_grad():
        assert torch.equal(start.from_noise(noise, level).float(), flow(noise.flatten(1))[0].view(noise.shape))
    assert not torch.equal(start.from_noise(noise, level).float(), noise)
    assert drawn(model, count=2, steps=2, start=start).isfinite().all()
    with pytest.raises(BadInput, match="--steps 2"):
        drawn(model, count=1, steps=3, start=start)
    with pytest.raises(BadInput, match="leave --from-step out"):
        LedNoise.of(part, model, 500)


def test_a_verifier_without_a_gradient_is_refused(model):
    for words, told in (("", "there is none"), ("jpeg", "has no gradient")):
        with pytest.raises(BadInput, match=told):
            PromptGen(verifier=words).check(model, [""])
