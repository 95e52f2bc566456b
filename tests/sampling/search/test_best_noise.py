import pytest
import torch

from exact_draws import ExactMixture, drawn
from intaglio.errors import BadInput, IntaglioError
from intaglio.sampling.calls import Calls
from intaglio.sampling.family import SamplingRequest
from intaglio.sampling.loop import nodes_of
from intaglio.sampling.methods.fkc import FeynmanKac
from intaglio.sampling.methods.plain import Plain
from intaglio.sampling.search.best_noise import BestNoise, chosen_start
from intaglio.sampling.search.random_search import RandomSearch
from intaglio.sampling.search.zero_order import ZeroOrderSearch
from intaglio.sampling.start import UnitNoise

MODEL = ExactMixture(torch.zeros(1, 3, 2, 2), torch.ones(1), {"": [0.0], "tuned": [0.0]})
"""Data N(0, I): the walk of DDIM takes noise to itself, nearly."""


class Sum:
    name, hash, differentiable, calls = "sum", "0" * 64, False, 5

    def __init__(self):
        self.seen = 0

    def __call__(self, pixels, prompts):
        self.seen += len(pixels)
        return pixels.flatten(1).sum(1)


def request(steps=4, scale=1.0, sampler="ddim"):
    return SamplingRequest(MODEL, ["tuned"], "", scale, steps, nodes_of(sampler, steps))


OPTIONS = {"sampler": "ddim", "steps": 4, "guidance_scale": 1.0, "negative": "", "method": Plain()}


@pytest.mark.parametrize("search", [RandomSearch(), ZeroOrderSearch()])
@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("budget", [9, 13, 60, 61, 62, 63, 64, 65, 100])
def test_the_budget_is_never_exceeded_by_one_call(search, scale, budget):
    verifier, calls = Sum(), Calls()
    best = BestNoise(search, verifier, budget)
    one = 4 * (1 if scale == 1 else 2) + 5
    count = best.candidates(request(scale=scale), Plain())
    assert count == budget // one
    if not count:
        with pytest.raises(BadInput, match=f"--budget {budget} is less than one picture.* {one} calls"):
            best.check(request(scale=scale), Plain(), "ddim")
        return
    best.check(request(scale=scale), Plain(), "ddim")
    best(MODEL, "tuned", 3, count=count, calls=calls, **{**OPTIONS, "guidance_scale": scale})
    assert calls == best.planned(request(scale=scale), Plain())
    assert calls.forward <= budget < calls.forward + one
    assert (calls.verifications, calls.decodes, verifier.seen) == (count, count - 1, count)


@pytest.mark.parametrize("search", [RandomSearch(), ZeroOrderSearch(neighbours=2)])
def test_the_found_picture_is_drawn_again_from_its_seed_and_path(search):
    found = BestNoise(search, Sum(), 0)(MODEL, "tuned", 3, count=9, batch=4, **OPTIONS)
    assert found.path
    start = chosen_start(search, MODEL, [(3, found.path)], UnitNoise())
    again = drawn(MODEL, Plain(), prompt="tuned", count=1, steps=4, start=start)
    assert torch.allclose(again[0], found.pixels, atol=1e-6)
    assert found.score == pytest.approx(found.pixels.sum().item(), abs=1e-5)
    assert found.scores[0] == pytest.approx(drawn_plain(3).sum().item(), abs=1e-4)


def drawn_plain(seed):
    """The picture without a search."""
    batch = drawn(MODEL, Plain(), prompt="tuned", count=seed + 1, steps=4)
    return batch[seed]


def test_one_candidate_is_the_plain_picture():
    found = BestNoise(RandomSearch(), Sum(), 0)(MODEL, "tuned", 3, count=1, **OPTIONS)
    assert torch.allclose(found.pixels, drawn_plain(3), atol=1e-6)
    assert (found.path, found.rows, len(found.scores)) == ((), 1, 1)


def test_progress_is_told_of_each_candidate():
    told = []
    BestNoise(ZeroOrderSearch(neighbours=3), Sum(), 0)(MODEL, "tuned", 3, count=6, advance=told.append, **OPTIONS)
    assert told == [1, 3, 2]


def test_a_candidate_that_fails_is_passed_over_and_all_that_fail_are_told():
    class Failing(ExactMixture):
        limit = 0.0

        def predict(self, latents, t, conditioning):
            bad = latents.flatten(1).sum(1) > self.limit
            return super().predict(latents, t, conditioning).masked_fill(bad.view(-1, 1, 1, 1), torch.nan)

    model = Failing(MODEL.means, MODEL.variances, {"": [0.0], "tuned": [0.0]})
    found = BestNoise(RandomSearch(), Sum(), 0)(model, "tuned", 3, count=12, **OPTIONS)
    assert -torch.inf in found.scores
    assert found.pixels.isfinite().all()
    assert -torch.inf < found.score < 0.1
    model.limit = -1e9
    with pytest.raises(IntaglioError, match="every candidate of the picture of seed 3"):
        BestNoise(RandomSearch(), Sum(), 0)(model, "tuned", 3, count=3, **OPTIONS)


def test_what_draws_noise_of_its_own_is_refused():
    best = BestNoise(RandomSearch(), Sum(), 1000)
    for sampler in ("ddpm", "euler_a"):
        with pytest.raises(BadInput, match=f"{sampler} draws noise at each step.*search with ddim"):
            best.check(request(), Plain(), sampler)
    with pytest.raises(BadInput, match="fkc draws further noise.*search with plain"):
        best.check(request(), FeynmanKac(), "ddim")
