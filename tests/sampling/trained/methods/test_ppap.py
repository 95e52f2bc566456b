from statistics import NormalDist

import pytest
import torch

import tiny
from exact_draws import ExactMixture
from intaglio.errors import BadInput, IntaglioError
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.trained.methods import ppap
from intaglio.sampling.trained.methods.ppap import PPAPExperts
from intaglio.sampling.trained.timestep_experts import TimestepExpert, TimestepExperts

SMALL = {
    "classes": ("colour:blue", "colour:red"),
    "temperature": 0.01,
    "pictures": 20,
    "steps": 2,
    "updates": 3,
    "rows": 4,
    "experts": 2,
    "learning_rate": 1e-5,  # Adam makes whole steps of gradients that are rounding
}
BAD = {"temperature": 0.0}
PIECES = {"batch": 3}

MODES = ExactMixture(torch.tensor([[[[-1.0]]], [[[1.0]]]]), torch.tensor([0.1, 0.1]), {"": [0.0, 0.0]})
"""Two modes, of equal shares."""


class Side:
    """Score 0.25 for a positive latent and 0 for others, or the other way round."""

    name, hash, differentiable, calls = "side", "0" * 64, False, 0

    def __call__(self, pixels, prompts):
        positive = (pixels.flatten(1).mean(1) > MIDDLE).float()
        return 0.25 * (positive if prompts[0] == "right" else 1 - positive)


MIDDLE = 0.0


def trained(monkeypatch, **changes):
    monkeypatch.setattr(ppap, "verifier_of", lambda words, model, prompts=(): Side())
    settings = {"pictures": 300, "steps": 10, "scale": 1.0, "batch": 300, "updates": 300, "rows": 64, "experts": 2}
    settings |= {"learning_rate": 5e-3}
    return PPAPExperts(classes=("a=left", "a=right"), **{**settings, **changes})(MODES, [""])


def experts_of(part, count=2):
    found = TimestepExperts(MODES.schedule, 1, 2, count, part.settings["seed"])
    found.load_state_dict(dict(part.tensors))
    return found


def test_experts_learn_the_posterior_of_the_judges_class(monkeypatch):
    """Against p(right | x_t) of the mixture: modes at s m, variance s² v + n², and the judge's softmax of 1 and 0."""
    experts, schedule = experts_of(trained(monkeypatch)), MODES.schedule
    sharp = torch.tensor([0.0, 1.0]).softmax(0)[1]
    for t in (300, 600, 900):
        s, n = schedule.signals[t], schedule.noises[t]
        x = torch.linspace(-2, 2, 9)
        right = torch.sigmoid(2 * s * x / (s**2 * 0.1 + n**2))
        exact = right * sharp + (1 - right) * (1 - sharp)
        with torch.no_grad():
            told = experts(x.view(-1, 1, 1, 1).float(), torch.full((9,), t)).exp()[:, 1]
        assert (told - exact).abs().max() < 0.12
        assert float(told[-1] - told[0]) == pytest.approx(float(exact[-1] - exact[0]), abs=0.12)


def test_agreement_is_that_of_the_likeliest_side_in_the_middle_of_each_range(monkeypatch):
    """A latent of mode ±1 keeps its side with the probability Φ(s / sqrt(s² v + n²))."""
    facts, schedule = trained(monkeypatch).facts, MODES.schedule
    for place, t in ((1, 250), (2, 750)):
        s, n = float(schedule.signals[t]), float(schedule.noises[t])
        exact = NormalDist().cdf(s / (s**2 * 0.1 + n**2) ** 0.5)
        assert facts[f"agreement_{place}"] == pytest.approx(exact, abs=0.13)
    assert facts["pictures"] == 300
    assert facts["share_of_a=left"] + facts["share_of_a=right"] == pytest.approx(1, abs=1e-5)


def test_each_timestep_is_its_ranges_experts_alone():
    made = TimestepExperts(MODES.schedule, 1, 3, 4, 0)
    x, t = torch.randn(5, 1, 2, 2), torch.tensor([0, 249, 250, 700, 999])
    assert made.places(t).tolist() == [0, 0, 1, 2, 3]
    levels = torch.stack([MODES.schedule.signals, MODES.schedule.noises], 1).float()[t]
    told = made(x, t)
    for row, place in enumerate([0, 0, 1, 2, 3]):
        alone = TimestepExpert(1, 3, 0, place)(x[row : row + 1], levels[row : row + 1]).log_softmax(1)
        assert torch.allclose(told[row], alone[0], atol=1e-6)


def test_a_judge_that_tells_nothing_apart_is_an_error(monkeypatch):
    monkeypatch.setitem(Side.__call__.__globals__, "MIDDLE", 99.0)
    with pytest.raises(IntaglioError, match="tell no two"):
        trained(monkeypatch, updates=1)


def test_what_cannot_be_trained_is_refused_in_a_sentence(tmp_path):
    model = load_model(tiny.sd_folder(tmp_path / "sd"))
    for settings, words in (
        ({"classes": ("ink",)}, "two --classes or more"),
        ({"classes": ("ink", "nobody")}, "nobody"),
        ({"classes": ("ink", "jpeg"), "experts": 1001}, "fewer --experts"),
    ):
        with pytest.raises(BadInput, match=words):
            PPAPExperts(**settings).check(model, [""])
    with pytest.raises(ValueError, match="differ"):
        PPAPExperts(classes=("ink", "ink"))
