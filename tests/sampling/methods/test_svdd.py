import pytest
import torch

from exact_draws import ExactMixture, drawn
from intaglio.errors import BadInput
from intaglio.sampling.calls import Calls
from intaglio.sampling.methods.plain import Plain
from intaglio.sampling.methods.svdd import SVDD

SMALL = {"verifier": "ink", "particles": 2, "temperature": 0.01, "choose_below": 20.0}
BAD = {"temperature": -1.0}
PIECES = {}
VARIANTS = {
    "best": {"SMALL": {"temperature": 0.0, "particles": 3}, "BAD": {"choose_below": 0.0}, "PIECES": {}},
    "seldom": {"SMALL": {"resample_below": 0.9}, "BAD": {"resample_below": 2.0}, "PIECES": {}},
    "late": {"SMALL": {"choose_below": 2.0}, "BAD": {"particles": 0}, "PIECES": {}},
}

NORMAL = ExactMixture(torch.zeros(1, 1, 1, 1), torch.ones(1), {"": [0.0], "other": [0.0]})
"""Data N(0, 1)."""
TWO = ExactMixture(
    torch.tensor([[[[0.0]]], [[[2.0]]]]), torch.tensor([1.0, 0.25]), {"": [0.0, -30.0], "tuned": [-30.0, 0.0]}
)


class Linear:
    """The score b x of a picture that is one number x; NaN where `without` says so."""

    name, hash, differentiable, calls = "linear", "0" * 64, False, 3

    def __init__(self, slope=1.0, without=lambda x: torch.zeros_like(x, dtype=torch.bool)):
        self.slope, self.without, self.seen = slope, without, 0

    def __call__(self, pixels, prompts):
        assert len(pixels) == len(prompts)
        self.seen += len(pixels)
        x = pixels.flatten()
        return (self.slope * x).masked_fill(self.without(x), torch.nan)


def judged_by(verifier, **settings):
    class Judged(SVDD):
        def judge(self, model, prompts=()):
            return verifier

    return Judged(**{"choose_below": 20.0, "temperature": 1.0, **settings})


def expected_mean(steps, proposals, lead):
    """Mean of the pictures of N(0, 1): a linear recursion, since ε(x) = n x and E[x0 | x] = s x.

    `lead(c)` is the mean of the normal number that is chosen of `proposals` when its score rises by c a unit.
    """
    grid = [round(1000 - k * 1000 / steps) - 1 for k in range(steps)]
    s, n = NORMAL.schedule.signals[grid].double(), NORMAL.schedule.noises[grid].double()
    mean = 0.0
    for k in range(steps - 1):
        fresh = n[k + 1] * (1 - (n[k + 1] * s[k] / (s[k + 1] * n[k])) ** 2).sqrt()
        kept = s[k + 1] * s[k] + (n[k + 1] ** 2 - fresh**2).sqrt() * n[k]
        mean = kept * mean + fresh * lead(float(s[k + 1] * fresh))
    return float(s[-1] * mean)


def chosen_by_weight(proposals):
    draws = torch.randn(4_000, proposals, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return lambda c: float(((c * draws).softmax(1) * draws).sum(1).mean())


def test_it_follows_the_density_times_the_exponential_of_the_score():
    """p(x) exp(b x / α) with p = N(0, 1) is N(b / α, 1), which it nears with more steps and more proposals."""
    assert 0.8 < expected_mean(50, 20, chosen_by_weight(20)) < expected_mean(100, 64, chosen_by_weight(64)) < 1
    found = drawn(NORMAL, judged_by(Linear(), particles=20), count=200, steps=50).double()
    assert found.mean().item() == pytest.approx(expected_mean(50, 20, chosen_by_weight(20)), abs=0.17)
    assert found.var().item() == pytest.approx(0.9, abs=0.2)


def test_twice_the_slope_at_twice_the_temperature_is_the_same():
    one = drawn(NORMAL, judged_by(Linear(1.0), particles=5), count=20, steps=30)
    two = drawn(NORMAL, judged_by(Linear(2.0), particles=5, temperature=2.0), count=20, steps=30)
    assert torch.allclose(one, two, atol=1e-6)


def test_the_best_proposal_alone_runs_away():
    """Its law is not p exp(r): the mean grows with the root of the steps."""
    expected = expected_mean(50, 20, lambda c: 1.86748)
    assert expected > 8
    found = drawn(NORMAL, judged_by(Linear(), particles=20, temperature=0.0), count=60, steps=50)
    assert found.mean().item() == pytest.approx(expected, abs=0.2)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_one_proposal_is_ddpm_bit_for_bit(scale):
    plain = drawn(TWO, Plain(), prompt="tuned", count=5, steps=12, sampler="ddpm", scale=scale)
    found = drawn(TWO, SVDD(particles=1), prompt="tuned", count=5, steps=12, scale=scale)
    assert torch.equal(found, plain)


def test_a_verifier_without_a_preference_leaves_the_law():
    found = drawn(TWO, judged_by(Linear(0.0), particles=4), prompt="tuned", count=500, steps=30)
    assert found.mean().item() == pytest.approx(2, abs=0.1)
    assert found.std().item() == pytest.approx(0.5, abs=0.07)


def test_one_ancestor_takes_all_slots_with_the_chance_of_its_weight():
    weights = torch.tensor([0.1, 0.6, 0.3], dtype=torch.float64)
    places = torch.linspace(0, 1, 4001, dtype=torch.float64)[:-1]
    found = SVDD(particles=3).choose(weights.log().expand(4000, 3), places)
    assert torch.equal(found, found[:, :1].expand_as(found))
    shares = found[:, 0].bincount(minlength=3) / 4000
    assert torch.allclose(shares.double(), weights, atol=1e-3)


def test_the_normaliser_is_estimated():
    """log E[exp(x)] of N(0, 1) is a half; the trace has it, as the estimate is without bias in the exponential."""
    for share in (1.0, 0.5):
        traces = []
        system = judged_by(Linear(), particles=32, resample_below=share)
        drawn(NORMAL, system, count=40, steps=30, told=traces.append)
        assert traces[0].particles.log_normaliser.exp().mean().log().item() == pytest.approx(0.5, abs=0.2)


def test_the_told_score_is_that_of_the_finished_picture():
    traces = []
    found = drawn(TWO, judged_by(Linear(), particles=4), prompt="tuned", count=6, steps=8, told=traces.append)
    assert torch.allclose(traces[0].scores.float(), found.flatten(), atol=1e-5)
    assert "linear" not in SVDD().reading_of(traces)  # it is named as it was given
    assert "jpeg scores the pictures" in SVDD().reading_of(traces)


def test_a_proposal_without_a_score_costs_that_one_alone():
    traces = []
    verifier = Linear(without=lambda x: x > 0)
    found = drawn(NORMAL, judged_by(verifier, particles=8), count=40, steps=30, told=traces.append)
    assert found.isfinite().all()
    assert (found <= 1e-6).all()  # the last choice sees the picture itself
    lost = int(traces[0].unscored.sum())
    assert 0 < lost < verifier.seen
    assert f"{lost:,} proposals had no score" in SVDD().reading_of(traces)


def test_where_none_has_a_score_the_walk_goes_on():
    blind = judged_by(Linear(without=lambda x: torch.ones_like(x, dtype=torch.bool)), particles=3)
    traces = []
    found = drawn(NORMAL, blind, count=300, steps=40, told=traces.append)
    assert found.isfinite().all()
    assert traces[0].particles.log_normaliser.isfinite().all()
    assert found.std().item() == pytest.approx(1, abs=0.15)


def test_calls_of_the_model_the_decoder_and_the_verifier_are_counted_and_planned():
    verifier, calls = Linear(), Calls()
    drawn(TWO, judged_by(verifier, particles=4), prompt="tuned", count=3, steps=10, scale=2.0, calls=calls)
    judged = 3 * 4 * 9  # nine levels have noise left after the first
    assert verifier.seen == judged
    assert calls == Calls(forward=3 * 2 + 2 * judged + 3 * judged, decodes=judged, verifications=judged)


def test_before_choosing_begins_one_proposal_goes_on():
    calls, verifier = Calls(), Linear()
    drawn(NORMAL, judged_by(verifier, particles=4, choose_below=1.0), count=2, steps=10, calls=calls)
    below = sum(1 for t in (899, 799, 699, 599, 499, 399, 299, 199, 99) if ratio(t) < 1)
    assert 0 < below < 9
    assert calls.verifications == 2 * 4 * below
    assert calls.forward == 2 * (10 - below + 4 * below) + 3 * 2 * 4 * below


def test_until_then_the_walk_is_that_of_ddpm():
    """Only the last level chooses, at noise over signal 0.15: the pictures are the plain ones, but for that little."""
    assert ratio(24) < 0.2 < ratio(49)
    plain = drawn(NORMAL, Plain(), count=30, steps=40, sampler="ddpm")
    late = judged_by(Linear(), particles=6, choose_below=0.2, temperature=0.0)
    found = drawn(NORMAL, late, count=30, steps=40)
    assert 0 < (found - plain).abs().max() < 0.5
    assert (found >= plain - 1e-6).all()


def ratio(t):
    return float(NORMAL.schedule.noises[t] / NORMAL.schedule.signals[t])


def test_what_cannot_be_chosen_is_refused():
    with pytest.raises(BadInput, match="would choose nothing.*take more --steps"):
        drawn(NORMAL, SVDD(), count=1, steps=1)
    with pytest.raises(BadInput, match="there is no verifier 'beauty'; use one of jpeg"):
        drawn(NORMAL, SVDD(verifier="beauty"), count=1, steps=5)
    with pytest.raises(BadInput, match="knows no picture of 'other'"):
        drawn(NORMAL, SVDD(verifier="attributes"), prompt="other", count=1, steps=5)
    with pytest.raises(ValueError, match="leave resample_below at 1"):
        SVDD(resample_below=0.5)
