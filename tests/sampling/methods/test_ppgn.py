import pytest
import torch

from exact_draws import ExactMixture, drawn
from intaglio.errors import BadInput
from intaglio.sampling.calls import Calls
from intaglio.sampling.methods import ppgn
from intaglio.sampling.methods.plain import Plain
from intaglio.sampling.methods.ppgn import Ppgn

SMALL = {"verifier": "colour:blue", "iterations": 2}
BAD = {"rate": 0.0}
PIECES = {}

CENTRE, VARIANCE = 1.5, 0.25
MODEL = ExactMixture(torch.full((1, 3, 1, 1), CENTRE), torch.tensor([VARIANCE]), {"": [0.0]})


class Linear:
    """A score with the gradient `slope` everywhere."""

    name, hash, differentiable, calls = "linear", "0" * 64, True, 0

    def __init__(self, slope=0.0):
        self.slope = slope

    def __call__(self, pixels, prompts):
        return self.slope * pixels.sum((1, 2, 3))


@pytest.fixture
def score(monkeypatch):
    """Sets the verifier that any name stands for."""

    def set_to(verifier):
        monkeypatch.setattr(ppgn, "verifier_of", lambda spec, model: verifier)

    set_to(Linear())
    return set_to


def level():
    schedule = MODEL.schedule
    ratios = schedule.noises / schedule.signals
    return float(ratios[(ratios.log() - torch.tensor(0.5).log()).abs().argmin()])


def test_the_walk_of_a_normal_law_is_autoregressive_with_a_known_variance(score):
    """R(h) = μ + v / (v + ρ²) (h + ρξ - μ), so h' - μ = (1 - a)(h - μ) + b ξ + c ξ' with a = prior ρ² / (v + ρ²)."""
    rho = level()
    a, b, c = 0.4 * rho**2 / (VARIANCE + rho**2), 0.4 * VARIANCE * rho / (VARIANCE + rho**2), 0.1
    method = Ppgn(verifier="any", iterations=60, prior=0.4, condition=0.0, noise=0.1, level=0.5)
    found = drawn(MODEL, method, count=1000, steps=3).double()
    assert found.mean().item() == pytest.approx(CENTRE, abs=0.03)
    assert found.var().item() == pytest.approx((b**2 + c**2) / (1 - (1 - a) ** 2), rel=0.1)


def test_a_slope_shifts_the_centre(score):
    score(Linear(0.2))
    rho = level()
    shift = 0.5 * 0.2 / (0.4 * rho**2 / (VARIANCE + rho**2))  # where pull and slope are level
    method = Ppgn(verifier="any", iterations=80, prior=0.4, condition=0.5, level=0.5)
    assert drawn(MODEL, method, count=800, steps=3).mean().item() == pytest.approx(CENTRE + shift, abs=0.03)


def test_one_step_written_out(score):
    score(Linear(0.7))
    start = drawn(MODEL, Plain(), count=4, steps=3)
    found = drawn(MODEL, Ppgn(verifier="any", iterations=1, prior=0.0, condition=0.5, rate=2.0), count=4, steps=3)
    assert torch.allclose(found, start + 2.0 * 0.5 * 0.7, atol=1e-5)
    same = drawn(
        MODEL, Ppgn(verifier="any", iterations=3, reconstruction="autoencoder", condition=0.0), count=4, steps=3
    )
    assert torch.allclose(same, start)  # a mixture decodes and encodes exactly
    unit = drawn(MODEL, Ppgn(verifier="any", iterations=1, prior=0.0, normalise=True), count=4, steps=3)
    assert torch.allclose(unit, start + 1.0, atol=1e-5)


def test_without_steps_it_is_plain_and_calls_are_counted(score):
    calls = Calls()
    method = Ppgn(verifier="any", iterations=0)
    assert torch.equal(drawn(MODEL, method, count=4, steps=3), drawn(MODEL, Plain(), count=4, steps=3))
    drawn(MODEL, Ppgn(verifier="any", iterations=5), count=4, steps=3, scale=2.0, calls=calls)
    assert calls == Calls(forward=4 * (2 * 3 + 5), decodes=4 * 5, verifications=4 * 5)


def test_a_score_that_is_not_finite_moves_nothing(score):
    score(Linear(float("nan")))
    start = drawn(MODEL, Plain(), count=4, steps=3)
    assert torch.equal(drawn(MODEL, Ppgn(verifier="any", iterations=2, prior=0.0), count=4, steps=3), start)


@pytest.mark.parametrize(("verifier", "words"), [("", "give --verifier"), ("jpeg", "jpeg has no gradient")])
def test_verifiers_that_cannot_be_climbed_are_refused(verifier, words):
    with pytest.raises(BadInput, match=words):
        drawn(MODEL, Ppgn(verifier=verifier), count=1, steps=1)
