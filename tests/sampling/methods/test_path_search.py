import pytest
import torch

from exact_draws import ExactMixture, drawn
from intaglio.errors import BadInput
from intaglio.randomness import generator
from intaglio.sampling.calls import Calls
from intaglio.sampling.grid import CLEAN, level_at, timestep_grid
from intaglio.sampling.methods.path_search import SearchOverPaths, renoised
from intaglio.sampling.methods.plain import Plain

SMALL = {"verifier": "ink", "paths": 2, "branches": 2, "up": 1, "down": 2, "begin_below": 20.0}
BAD = {"up": 4}
PIECES = {}
VARIANTS = {"alone": {"SMALL": {"paths": 1, "branches": 3}, "BAD": {"branches": 0}, "PIECES": {}}}

NORMAL = ExactMixture(torch.zeros(1, 1, 1, 1), torch.ones(1), {"": [0.0]})
"""Data N(0, 1), of which the noise in x at any level is n x."""
WIDE = ExactMixture(torch.full((1, 1, 1, 1), 1.5), torch.full((1,), 0.25), {"": [0.0]})
"""Data N(1.5, 1/4)."""


class Number:
    """The score x of a picture that is one number x; NaN where `without` says so."""

    name, hash, differentiable, calls = "number", "0" * 64, False, 3

    def __init__(self, without=lambda x: torch.zeros_like(x, dtype=torch.bool)):
        self.without, self.seen = without, 0

    def __call__(self, pixels, prompts):
        assert len(pixels) == len(prompts)
        self.seen += len(pixels)
        return pixels.flatten().masked_fill(self.without(pixels.flatten()), torch.nan)


def judged_by(verifier, **settings):
    class Judged(SearchOverPaths):
        def judge(self, model, prompts=()):
            return verifier

    return Judged(**{"begin_below": 3.0, **settings})


def by_hand(seed, steps, paths, branches, up, down, begin_below):
    """The search of one number, in loops: for N(0, 1) the noise in x is n x, and a step is linear."""
    grid = timestep_grid(NORMAL.schedule, steps)

    def walk(x, first, last):
        for now, then in zip(grid[first:last], grid[first + 1 : last + 1], strict=True):
            clean = (x - now.noise * now.noise * x) / now.signal
            x = then.signal * clean + then.noise * now.noise * x
        return x, clean

    begin = next(k for k, level in enumerate(grid) if k >= up and level.ratio < begin_below)
    sources = [torch.Generator().manual_seed(seed), *(generator(seed, "search", k) for k in range(1, paths))]
    kept = [walk(float(torch.randn(1, 1, 1, generator=source)), 0, begin)[0] for source in sources]
    at, number = begin, 0
    while at < steps:
        top, low = grid[at - up], grid[at]
        found = []
        for k in range(paths * branches):
            fresh = float(torch.randn(1, 1, 1, generator=generator(seed, "path", number, k)))
            spread = (top.noise**2 - (top.signal * low.noise / low.signal) ** 2) ** 0.5
            raised = top.signal / low.signal * kept[k // branches] + spread * fresh
            found.append(walk(raised, at - up, min(at - up + down, steps)))
        found.sort(key=lambda pair: -pair[1])
        kept = [x for x, _ in found[:paths]]
        at, number = min(at - up + down, steps), number + 1
    return kept[0]


@pytest.mark.parametrize(
    ("paths", "branches", "up", "down", "steps"), [(2, 3, 1, 3, 10), (1, 4, 2, 5, 11), (3, 1, 2, 3, 8)]
)
def test_it_is_the_search_written_out_in_loops(paths, branches, up, down, steps):
    method = judged_by(Number(), paths=paths, branches=branches, up=up, down=down)
    found = drawn(NORMAL, method, count=4, steps=steps)
    wanted = [by_hand(seed, steps, paths, branches, up, down, 3.0) for seed in range(4)]
    assert found.flatten().tolist() == pytest.approx(wanted, abs=1e-4)


def test_raised_latents_have_the_law_of_that_level():
    """Of data N(μ, v) they are N(s μ, s² v + n²) at the level they are raised to."""
    low, top = level_at(WIDE.schedule, 300), level_at(WIDE.schedule, 600)
    draws = torch.Generator().manual_seed(0)
    z = 1.5 + 0.5 * torch.randn(1, 200_000, 1, 1, 1, generator=draws, dtype=torch.float64)
    x = low.signal * z + low.noise * torch.randn(z.shape, generator=draws, dtype=torch.float64)
    raised = renoised(x, torch.randn(z.shape, generator=draws, dtype=torch.float64), low, top)
    assert float(raised.mean()) == pytest.approx(1.5 * top.signal, abs=0.01)
    assert float(raised.var()) == pytest.approx(0.25 * top.signal**2 + top.noise**2, rel=0.01)


def test_without_a_choice_the_pictures_are_the_models_own():
    method = judged_by(Number(), paths=1, branches=1, up=2, down=6)
    found, plain = (drawn(WIDE, way, count=1500, steps=50) for way in (method, Plain()))
    assert float(found.mean()) == pytest.approx(float(plain.mean()), abs=0.06)
    assert float(found.std()) == pytest.approx(float(plain.std()), abs=0.04)
    assert (found - plain).abs().max() > 0.1


@pytest.mark.parametrize(
    ("branches", "calls", "best"), [(2, 51, 0.846), (4, 97, 1.163)], ids=["as three pictures", "as five"]
)
def test_it_scores_above_the_best_of_as_many_pictures_as_its_calls_would_draw(branches, calls, best):
    """The best of 3 and 5 numbers of N(0, 1) is 0.846 and 1.163 on average; a picture of 20 steps is 20 calls."""
    method, counted = judged_by(Number(), paths=1, branches=branches, up=1, down=3, begin_below=5.0), Calls()
    if branches == 4:
        method = judged_by(Number(), paths=1, branches=4, up=2, down=6, begin_below=5.0)
    found = drawn(NORMAL, method, count=400, steps=20, calls=counted)
    assert (counted.forward - 3 * counted.verifications) / 400 == calls
    assert float(found.mean()) > best + 0.2


def test_calls_are_those_planned_whatever_the_remainder_of_the_rounds():
    for down, steps in ((3, 10), (4, 13), (20, 10)):
        verifier, calls = Number(), Calls()
        method = judged_by(verifier, paths=2, branches=3, up=1, down=down)
        drawn(NORMAL, method, count=2, steps=steps, calls=calls)
        assert verifier.seen == calls.verifications == calls.decodes
        grid = timestep_grid(NORMAL.schedule, steps)
        begin = next(k for k, level in enumerate(grid) if level.ratio < 3.0)
        at, walked, rounds = begin, 2 * begin, 0
        while grid[at] != CLEAN:
            there = min(at - 1 + down, steps)
            walked, rounds, at = walked + 6 * (there - at + 1), rounds + 1, there
        assert calls.verifications == 2 * 6 * rounds
        assert calls.forward == 2 * (walked + 3 * 6 * rounds)


def test_a_copy_without_a_score_comes_last_and_is_counted():
    told = []
    verifier = Number(without=lambda x: x > 0.5)
    found = drawn(NORMAL, judged_by(verifier, branches=4), count=200, steps=20, told=told.append)
    assert float(found.max()) <= 0.5 + 1e-6
    assert sum(int(trace.unscored.sum()) for trace in told) > 0
    assert "had no score" in judged_by(verifier).reading_of(told)
    none = drawn(NORMAL, judged_by(Number(without=lambda x: x > -1e9)), count=2, steps=20)
    assert none.isfinite().all(), "where none has a score the first goes on"


def test_where_the_search_never_begins_is_refused_with_the_remedy():
    with pytest.raises(BadInput, match="would search nothing.*--begin-below"):
        drawn(NORMAL, judged_by(Number(), begin_below=0.001), count=1, steps=4)
