import itertools
import math
from dataclasses import replace

import pytest
import torch

from exact_draws import ExactMixture, drawn
from intaglio.errors import BadInput, IntaglioError
from intaglio.sampling.calls import Calls
from intaglio.sampling.family import SamplingRequest
from intaglio.sampling.loop import fit_of, nodes_of
from intaglio.sampling.methods.parm.method import PARM
from intaglio.sampling.methods.parm.potential import Potential, logistic
from intaglio.sampling.methods.parm.score_log import ScoreLog
from intaglio.sampling.methods.plain import Plain
from intaglio.sampling.search.best_noise import BestNoise
from intaglio.sampling.search.random_search import RandomSearch

SMALL = {
    "verifier": "ink",
    "candidates": 3,
    "drop_below": 0.4,
    "passing": 0.3,
    "judge_below": 20.0,
    "judgements": 1,
    "calibration": ("a blue cat", "a dog"),
    "logged": 4,
}
BAD = {"drop_below": -1.0}
PIECES = {}
VARIANTS = {
    "whole": {"SMALL": {"drop_below": 0.0}, "BAD": {"candidates": 0}, "PIECES": {}},
    "absolute": {"SMALL": {"judgements": 2, "relative": False}, "BAD": {"passing": 1.0}, "PIECES": {}},
}

LINE = ExactMixture(torch.zeros(1, 1, 1, 1), torch.ones(1), {"": [0.0], "tuned": [0.0], "other": [0.0]})
"""Data N(0, 1)."""
WIDE = ExactMixture(torch.zeros(1, 6, 1, 1), torch.ones(1), {"": [0.0], "tuned": [0.0], "other": [0.0]})
"""Data N(0, I) of six numbers: three angles, which the walk of DDIM leaves as they are."""


CUBE = ExactMixture(torch.zeros(1, 3, 2, 2), torch.ones(1), {"": [0.0], "tuned": [0.0]})
"""Data N(0, I) in the shape of a picture."""


class First:
    """The score of a picture: its first number."""

    name, hash, differentiable, calls = "first", "0" * 64, False, 3

    def __init__(self):
        self.seen = 0

    def __call__(self, pixels, prompts):
        assert len(pixels) == len(prompts)
        self.seen += len(pixels)
        return pixels[:, 0, 0, 0]


def judged_by(verifier, **settings):
    class Judged(PARM):
        def judge(self, model, prompts=()):
            return verifier

    return Judged(**{"calibration": ("other",), "logged": 100, "judge_below": 20.0, **settings})


# Against the best of N


@pytest.mark.parametrize("sampler", ["ddim", "heun", "dpm++2m"])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_without_a_threshold_it_is_the_best_of_n_bit_for_bit(sampler, scale):
    verifier, calls = First(), [Calls(), Calls()]
    method = judged_by(verifier, candidates=5, drop_below=0.0)
    options = {"sampler": sampler, "steps": 4, "guidance_scale": scale, "negative": ""}
    found = drawn(CUBE, method, prompt="tuned", count=3, steps=4, scale=scale, sampler=sampler, calls=calls[0])
    for seed in range(3):
        best = BestNoise(RandomSearch(), verifier, 0)
        known = best(CUBE, "tuned", seed, count=5, calls=calls[1], method=Plain(), **options)
        assert torch.equal(found[seed], known.pixels)
    assert calls[0].forward == calls[1].forward
    request = SamplingRequest(CUBE, ["tuned"], "", scale, 4, nodes_of(sampler, 4))
    assert calls[0] == method.planned(request).times(3)


def test_one_candidate_is_plain_sampling_and_is_not_judged():
    verifier, calls = First(), Calls()
    found = drawn(LINE, judged_by(verifier, candidates=1), count=5, steps=6, calls=calls)
    assert torch.equal(found, drawn(LINE, Plain(), count=5, steps=6))
    assert (verifier.seen, calls) == (0, Calls(forward=30))


@pytest.mark.parametrize("sampler", ["ddim", "heun", "dpm++2m"])
def test_where_scores_on_the_way_tell_the_end_the_best_is_found_at_fewer_calls(sampler):
    """The walk of DDIM is increasing in one number: who is dropped would have ended below who is not."""
    verifier, calls, traces = First(), Calls(), []
    method = judged_by(verifier, candidates=16, drop_below=0.5, passing=0.25, judgements=2, relative=False)
    fit = fit_of(LINE, method, sampler=sampler, steps=8, guidance_scale=1.0)
    options = {"prompt": "tuned", "count": 40, "steps": 8, "sampler": sampler}
    found = drawn(LINE, method, **options, fit=fit, calls=calls, told=traces.append)
    whole = Calls()
    best = drawn(LINE, judged_by(verifier, candidates=16, drop_below=0.0), **options, calls=whole)
    assert torch.allclose(found, best, atol=1e-6)
    assert calls.forward < 0.75 * whole.forward
    (trace,) = traces
    assert (trace.made.forward, trace.whole.forward, trace.pictures) == (calls.forward, whole.forward, 40)
    words = method.reading_of(traces)
    share = 1 - calls.forward / whole.forward
    assert f"{calls.forward:,} calls of the denoiser" in words
    assert f"{share:.0%} fewer calls" in words
    assert f"{trace.dropped / 40:.1f} were dropped" in words


def test_candidates_are_dropped_with_the_probability_of_their_law():
    """Scores on the way are increasing in the end: P(dropped) is that of a normal number below the threshold's score.

    The score s of potential 1/2 is where the regression's logit is 0; the clean estimate of N(0, 1) is the signal times
    the latents, whose law by the walk is N(0, f²) with a factor f of the grid.
    """
    method = judged_by(First(), candidates=32, drop_below=0.5, passing=0.25, judgements=1, relative=False, logged=400)
    steps, place = 8, 0
    fit = fit_of(LINE, method, steps=steps, guidance_scale=1.0)
    traces = []
    drawn(LINE, method, prompt="tuned", count=60, steps=steps, fit=fit, told=traces.append)
    grid = SamplingRequest(LINE, [], "", 1.0, steps, steps).grid
    (level,) = method._judged(grid)
    spread = 1.0
    for now, then in itertools.pairwise(grid[: grid.index(level) + 1]):
        spread *= then.signal * now.signal + then.noise * now.noise  # ε = n x and E[x0 | x] = s x
    potential = fit.potential("tuned", 0.25, relative=False)
    a, b = potential.weights[place].tolist()
    score = float(potential.mean[place]) - a / b * float(potential.deviation[place])
    below = 0.5 * (1 + math.erf(score / (spread * level.signal) / math.sqrt(2)))
    assert 0.5 < below < 0.9
    dropped = traces[0].dropped / (60 * 32)
    assert dropped == pytest.approx(below, abs=3 * math.sqrt(below * (1 - below) / (60 * 32)) + 2e-3)


# A judge of known rates


class Noisy:
    """A judge that says yes (1) to a good picture with probability a, to another with b, and at the end tells them.

    Angles of pairs of numbers are uniform, and the walk of DDIM keeps them: the first makes a picture good with
    probability q, the others are what the judge errs by, at each time of its own. It is asked `times` times on the way.
    """

    name, hash, differentiable, calls = "noisy", "0" * 64, False, 0

    def __init__(self, q, a, b, times):
        self.q, self.a, self.b, self.times, self.asked = q, a, b, times, 0

    def __call__(self, pixels, prompts):
        x = pixels.flatten(1).double()
        u = (torch.atan2(x[:, 1::2], x[:, 0::2]) / (2 * math.pi)) % 1
        good = u[:, 0] < self.q
        self.asked += 1
        if self.asked % (self.times + 1) == 0:
            return good.float()
        error = u[:, self.asked % (self.times + 1)]
        return (error < torch.where(good, self.a, self.b)).float()


def chance_that_the_pick_is_good(count, q, a, b, times):
    """By enumeration of the kinds of all candidates: good or not, and the number of the first no (0 for none).

    The judge is asked while two or more are alive. Those with a no are dropped, but where all are, the first stays.
    """
    kinds = [
        (good, first, (q if good else 1 - q) * (p**times if not first else p ** (first - 1) * (1 - p)))
        for good, p in ((True, a), (False, b))
        for first in range(times + 1)
    ]
    total = 0.0
    for chosen in itertools.product(kinds, repeat=count):
        alive = list(chosen)
        for time in range(1, times + 1):
            if len(alive) > 1:
                alive = [one for one in alive if one[1] != time] or alive[:1]
        total += math.prod(one[2] for one in chosen) * any(one[0] for one in alive)
    return total


@pytest.mark.parametrize(("count", "q", "a", "b", "times"), [(3, 0.3, 0.8, 0.2, 1), (4, 0.3, 0.7, 0.3, 2)])
def test_the_pick_is_as_often_good_as_enumeration_says(count, q, a, b, times):
    settings = {"candidates": count, "drop_below": 0.5, "judgements": times, "relative": False}
    # Logged scores are those of a judge without an error, so that a no has a potential near 0, and a yes one near 1.
    yes = torch.tensor([[0.0] * 50 + [1.0] * 50])
    log = ScoreLog(("other",), yes[..., None].expand(1, 100, times).double(), yes.double(), "")
    pictures = 1500
    method = judged_by(Noisy(q, a, b, times), passing=0.4, **settings)
    found = drawn(WIDE, method, prompt="tuned", count=pictures, steps=4, fit=log)
    x = found.flatten(1).double()
    good = ((torch.atan2(x[:, 1], x[:, 0]) / (2 * math.pi)) % 1 < q).double().mean().item()
    known = chance_that_the_pick_is_good(count, q, a, b, times)
    assert q + 0.05 < known < 1 - (1 - q) ** count - 0.02
    assert good == pytest.approx(known, abs=3 * math.sqrt(known * (1 - known) / pictures))


def test_where_none_has_potential_the_least_certain_no_goes_on_alone():
    verifier, traces, calls = First(), [], Calls()
    low = ScoreLog(("other",), torch.linspace(-1, 1, 50).view(1, 50, 1).double(), torch.linspace(-1, 1, 50)[None], "")
    method = judged_by(verifier, candidates=6, drop_below=1.0, judgements=1, relative=False)
    found = drawn(LINE, method, prompt="tuned", count=8, steps=5, fit=low, told=traces.append, calls=calls)
    assert traces[0].dropped == 8 * 5
    assert verifier.seen == 8 * 6  # one that is alone is not judged at the end
    best = drawn(LINE, judged_by(First(), candidates=6, drop_below=0.0), prompt="tuned", count=8, steps=5)
    assert torch.allclose(found, best, atol=1e-6)  # the highest score on the way is the highest at the end
    level = method._judged(SamplingRequest(LINE, [], "", 1.0, 5, 5).grid)[0]
    asked = 1 + [999, 799, 599, 399, 199].index(level.t)
    assert calls.forward == 8 * (6 * asked + (5 - asked)) + 3 * 8 * 6


# The fit


def test_the_regression_is_where_its_gradient_is_zero_and_keeps_the_share_that_passes():
    x = torch.linspace(-2, 2, 400, dtype=torch.float64)
    passes = torch.rand(400, generator=torch.Generator().manual_seed(0)) < torch.sigmoid(-1 + 2 * x)
    a, b = logistic(x, passes).tolist()
    assert (a, b) == pytest.approx((-1, 2), abs=0.5)
    chance = 1 / (1 + torch.exp(-a - b * x))
    assert float((chance - passes.double()).sum()) == pytest.approx(-a / 100, abs=1e-6)  # prior of deviation 10
    assert float(((chance - passes.double()) * x).sum()) == pytest.approx(-b / 9, abs=1e-6)


def test_separated_scores_and_equal_ones_have_a_finite_fit():
    x = torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64)
    a, b = logistic(x, x > 0).tolist()
    assert math.isfinite(b)
    assert b > 1
    assert a == pytest.approx(0, abs=1e-9)
    same = Potential.fit(torch.full((10, 2), 3.0), torch.arange(10) < 3)
    assert same(0, torch.tensor([3.0, 3.0], dtype=torch.float64)).tolist() == pytest.approx([0.3, 0.3], abs=0.01)


def test_a_prompt_is_judged_by_the_pictures_of_others():
    """In the log of `a` high scores end high, in that of `b` low ones do."""
    rise = torch.linspace(-1, 1, 40, dtype=torch.float64)
    log = ScoreLog(("a", "b"), torch.stack([rise, rise])[..., None], torch.stack([rise, -rise]), "")
    high = torch.tensor([1.0], dtype=torch.float64)
    assert log.potential("a", 0.5, relative=False)(0, high) < 0.1
    assert log.potential("b", 0.5, relative=False)(0, high) > 0.9
    assert float(log.potential("c", 0.5, relative=False)(0, high)) == pytest.approx(0.5, abs=0.05)


def test_relative_scores_forget_the_prompt():
    """Scores that are those of another prompt plus a constant: relative potentials are the same with one or both."""
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(1, 30, 2, dtype=torch.float64, generator=generator)
    finals = scores[..., 1] + torch.randn(1, 30, dtype=torch.float64, generator=generator)
    both = ScoreLog(("a", "b"), torch.cat([scores, scores + 9]), torch.cat([finals, finals + 5]), "")
    one = ScoreLog(("a", "b"), torch.cat([scores, scores]), torch.cat([finals, finals]), "")
    at = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    for place in (0, 1):
        found = both.potential("c", 0.3, relative=True)(place, at)
        assert torch.allclose(found, one.potential("c", 0.3, relative=True)(place, at))
        assert not torch.allclose(both.potential("c", 0.3, relative=False)(place, at), found, atol=0.05)


def test_the_share_of_logged_pictures_that_pass_is_as_asked():
    finals = torch.rand(3, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    blind = ScoreLog(("a", "b", "c"), torch.zeros(3, 40, 1), finals, "")
    for share in (0.1, 0.25, 0.5):
        potential = blind.potential("", share, relative=False)
        assert float(potential(0, torch.zeros(1, dtype=torch.float64))) == pytest.approx(share, abs=0.01)


def test_the_fit_is_that_of_its_model_sampling_and_verifier_whatever_the_threshold(tmp_path):
    method = judged_by(First(), candidates=4, logged=6)
    request = SamplingRequest(LINE, ["tuned"], "", 1.0, 5, 5)
    calls = Calls()
    log = fit_of(LINE, method, steps=5, guidance_scale=1.0, calls=calls)
    assert calls == method.planned_fit(request)
    assert calls.verifications == 6 * (len(method._judged(request.grid)) + 1)
    log.save(tmp_path / "log.safetensors")
    again = method.read_fit(tmp_path / "log.safetensors", request)
    assert torch.equal(again.scores, log.scores)
    assert torch.equal(again.finals, log.finals)
    assert again.prompts == ("other",)
    known = method.fit_hash(request)
    assert replace(method, drop_below=0.5, passing=0.2, candidates=9).fit_hash(request) == known
    others = [replace(method, logged=8), replace(method, judgements=1), replace(method, calibration=("", "other"))]
    hashes = {one.fit_hash(request) for one in others}
    changes = [{"steps": 6}, {"sampler": "heun"}, {"start": "a" * 64}, {"first": 900}, {"scale": 2.0}]
    hashes |= {method.fit_hash(replace(request, **change)) for change in [*changes, {"negative": "x"}]}
    assert len(hashes - {known}) == 9
    assert method.fit_hash(replace(request, prompts=["other"])) == known
    assert replace(method, drop_below=0.0).fit_hash(request) is None
    with pytest.raises(BadInput, match="holds no log of these scores; delete it"):
        method.read_fit(tmp_path / "log.safetensors", replace(request, steps=6))


# What goes wrong


def test_a_candidate_without_a_score_or_a_prediction_costs_that_one_alone():
    class Blind(First):
        def __call__(self, pixels, prompts):
            return super().__call__(pixels, prompts).masked_fill(pixels[:, 0, 0, 0] > 0.5, torch.nan)

    class Failing(ExactMixture):
        limit = 0.7

        def predict(self, latents, t, conditioning):
            bad = latents.flatten(1).sum(1) > self.limit
            return super().predict(latents, t, conditioning).masked_fill(bad.view(-1, 1, 1, 1), torch.nan)

    found = drawn(LINE, judged_by(Blind(), candidates=8, drop_below=0.0), prompt="tuned", count=20, steps=5)
    assert (found < 0.5 + 1e-6).all()
    assert drawn(LINE, judged_by(Blind(), candidates=8), prompt="tuned", count=20, steps=5).isfinite().all()
    model = Failing(LINE.means, LINE.variances, {name: [0.0] for name in LINE.prompts})
    found = drawn(model, judged_by(First(), candidates=8), prompt="tuned", count=20, steps=5)
    assert found.isfinite().all()
    model.limit = -1e9
    with pytest.raises(IntaglioError, match="turned into NaN or infinity"):
        drawn(model, judged_by(First(), candidates=3, drop_below=0.0), prompt="tuned", count=2, steps=5)
    spared = drawn(
        model, judged_by(First(), candidates=3, drop_below=0.0), prompt="tuned", count=2, steps=5, spare_failed=True
    )
    assert spared.isnan().all()


def test_where_none_has_a_score_nothing_is_dropped():
    class Never(First):
        def __call__(self, pixels, prompts):
            return torch.full((len(pixels),), torch.nan)

    traces = []
    method = judged_by(Never(), candidates=4, drop_below=1.0)
    found = drawn(LINE, method, prompt="tuned", count=6, steps=5, told=traces.append)
    assert traces[0].dropped == 0
    assert torch.allclose(found, drawn(LINE, Plain(), prompt="tuned", count=6, steps=5))


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(BadInput, match="would judge nothing: of 2 steps.*raise|take more --steps"):
        drawn(LINE, judged_by(First(), judge_below=0.001), prompt="tuned", count=1, steps=2)
    with pytest.raises(BadInput, match="--calibration has none but 'other'"):
        drawn(LINE, judged_by(First()), prompt="other", count=1, steps=5)
    with pytest.raises(BadInput, match="there is no verifier 'beauty'"):
        drawn(LINE, PARM(verifier="beauty", calibration=("other",)), prompt="tuned", count=1, steps=5)
    with pytest.raises(BadInput, match="3 logged pictures are less than 2 of each of 2 prompts"):
        drawn(LINE, judged_by(First(), calibration=("other", ""), logged=3), prompt="tuned", count=1, steps=5)
    with pytest.raises(ValueError, match="calibration has a prompt twice"):
        PARM(calibration=("a", "a"))
