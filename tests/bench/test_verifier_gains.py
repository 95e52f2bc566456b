import numpy as np
import pytest
import torch

from intaglio.bench.sample.exact_mixture import ExactMixture
from intaglio.bench.sample.verifier_gains import GainSettings, _chosen, _gain, verifier_gains
from intaglio.runs.run import Run

MODEL = ExactMixture(torch.zeros(1, 3, 4, 4), torch.ones(1), {"": [0.0], "one": [0.0], "two": [0.0]})


class Sum:
    """A verifier of one name, whose score is the sum of some pixels."""

    hash, differentiable, calls = "0" * 64, False, 0

    def __init__(self, name):
        self.name = name

    def __call__(self, pixels, prompts):
        return (
            {"denoiser": -pixels, "attributes:0": pixels, "attributes:1": pixels, "jpeg": pixels[:, :1]}[self.name]
            .flatten(1)
            .sum(1)
        )


def test_a_search_by_the_judge_itself_gains_what_the_best_of_eight_does(monkeypatch):
    """The best of 8 normal numbers is 1.424 deviations above their mean; led the other way, as much below."""
    monkeypatch.setattr("intaglio.bench.sample.verifier_gains.verifier_of", lambda name, model: Sum(name))
    monkeypatch.setattr("intaglio.sampling.methods.parm.method.verifier_of", lambda name, model, prompts=(): Sum(name))
    monkeypatch.setattr("intaglio.sampling.methods.svdd.verifier_of", lambda name, model, prompts=(): Sum(name))
    found = verifier_gains(MODEL, GainSettings(["one", "two"], range(12), 4, 8, 1.0, ("", "one")), Run.none())
    assert found["search_gain"] == pytest.approx(1.424, abs=0.25)
    assert found["search_gains"]["denoiser"]["mean"] == pytest.approx(-1.424, abs=0.25)
    assert found["search_gains"]["attributes:1"]["mean"] == pytest.approx(found["search_gain"])
    assert found["search_gain_low"] <= found["search_gain"]
    assert found["best_gain"] == pytest.approx(1.424, abs=0.3)
    assert found["svdd_gain"] > 0.5
    assert found["parm_gain"] > 0.5
    assert 0 < found["parm_calls"] <= 1


def test_the_chosen_are_those_that_lead_and_one_without_a_score_never_does():
    lead = np.array([[[1.0, 3.0, 2.0], [np.nan, -5.0, -6.0]]])
    judged = np.array([[[10.0, 20.0, 30.0], [40.0, 50.0, 60.0]]])
    assert _chosen(lead, judged).tolist() == [[20.0, 50.0]]


def test_a_gain_is_in_deviations_within_a_prompt():
    """Prompts differ by 100, which is no deviation within one."""
    plain = np.array([[[0.0, 2.0], [4.0, 6.0]], [[100.0, 102.0], [104.0, 106.0]]])
    found = _gain(np.array([[5.0, 5.0], [107.0, 107.0]]), plain)
    deviation = np.std([0.0, 2.0, 4.0, 6.0], ddof=1)
    assert found["mean"] == pytest.approx((2 + 4) / 2 / deviation)
    assert found["low"] == pytest.approx(2 / deviation)
