"""The searches of the initial noise, on pictures that are their noise, so that every law is known."""

import math

import pytest
import torch

from intaglio.sampling.search.noise_search import Candidates
from intaglio.sampling.search.random_search import RandomSearch
from intaglio.sampling.search.searches import SEARCHES
from intaglio.sampling.search.zero_order import ZeroOrderSearch, neighbour
from intaglio.sampling.search_names import SearchName

SHAPE = (3, 4, 4)
every_search = pytest.mark.parametrize("search", [RandomSearch(), ZeroOrderSearch(), ZeroOrderSearch(neighbours=1)])


class First:
    """The score of a picture: its first number."""

    name, hash, differentiable, calls = "first", "0" * 64, False, 0

    def __call__(self, pixels, prompts):
        assert len(prompts) == len(pixels)
        return pixels[:, 0, 0, 0]


def sought(search, seed, count, verifier=None, batch=8):
    """What a search of pictures that are their noise finds, and the paths that it asked for."""
    asked = []

    def draw(paths):
        asked.extend(paths)
        assert len(paths) <= batch
        return torch.stack([search.noise(seed, path, SHAPE) for path in paths]).float()

    candidates = Candidates(draw, verifier or First(), "a prompt", count, batch)
    search.seek(candidates)
    assert candidates.left == 0
    return candidates.found, asked


@pytest.mark.parametrize(("count", "mean"), [(4, 1.029), (8, 1.424), (16, 1.766)])
def test_the_best_of_n_normal_numbers_has_their_mean(count, mean):
    """Expected highest of n draws of N(0, 1): n ∫ x φ(x) Φ(x)^(n-1) dx, computed here as well."""
    x = torch.linspace(-8, 8, 20_001, dtype=torch.float64)
    density = count * torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi)
    density = density * (0.5 + 0.5 * torch.erf(x / math.sqrt(2))) ** (count - 1)
    assert float(torch.trapezoid(x * density, x)) == pytest.approx(mean, abs=1e-3)
    found = torch.tensor([sought(RandomSearch(), seed, count)[0].score for seed in range(700)])
    assert found.mean().item() == pytest.approx(mean, abs=0.1)


@every_search
def test_a_search_is_a_function_of_its_seed_in_any_batch(search):
    found, asked = sought(search, 5, 11)
    again, _ = sought(search, 5, 11, batch=3)
    assert (found.path, found.score, found.scores) == (again.path, again.score, again.scores)
    assert len(found.scores) == len(asked) == len(set(asked)) == 11
    assert found.score == max(found.scores)
    assert torch.equal(found.pixels, search.noise(5, found.path, SHAPE).float())
    assert 1 <= found.rows <= 8


@every_search
def test_the_first_candidate_is_the_picture_s_own_noise(search):
    own = torch.randn(*SHAPE, generator=torch.Generator().manual_seed(5))
    assert torch.equal(search.noise(5, (), SHAPE), own.double())
    assert sought(search, 5, 4)[1][0] == ()


@every_search
def test_pictures_share_no_candidate(search):
    noises = [search.noise(seed, path, SHAPE) for seed in (5, 6, 7) for path in sought(search, seed, 9)[1]]
    distances = torch.cdist(torch.stack(noises).flatten(1), torch.stack(noises).flatten(1))
    assert (distances + 9 * torch.eye(len(noises))).min() > 0.1


@every_search
def test_a_candidate_without_a_score_costs_that_one_alone(search):
    class Blind(First):
        def __call__(self, pixels, prompts):
            return super().__call__(pixels, prompts).masked_fill(pixels[:, 0, 0, 0] > 0, torch.nan)

    scores = [sought(search, seed, 12, Blind())[0].scores for seed in range(5)]
    assert any(-math.inf in row for row in scores)
    assert all(max(row) <= 0 for row in scores)

    class Never(First):
        def __call__(self, pixels, prompts):
            return torch.full((len(pixels),), torch.nan)

    found, _ = sought(search, 5, 6, Never())
    assert (found.path, found.score) == ((), -math.inf)


def test_neighbours_have_the_norm_and_the_cosine():
    x, noise = (torch.randn(4, 16, 16, dtype=torch.float64) for _ in range(2))
    for cosine in (0.95, 0.5, 0.0, -0.3):
        y = neighbour(x, noise + 3 * x, cosine)
        assert y.norm().item() == pytest.approx(x.norm().item(), rel=1e-9)
        assert ((y * x).sum() / (x.norm() * y.norm())).item() == pytest.approx(cosine, abs=1e-9)
    assert torch.allclose(neighbour(x, noise, 0.9), neighbour(x, noise - 7 * x, 0.9))


def test_zero_order_moves_to_the_best_neighbour_and_else_stays():
    """Rounds written out again from the paths that were asked for and their scores."""
    for seed in range(4):
        found, asked = sought(ZeroOrderSearch(neighbours=3, cosine=0.8), seed, 15)
        score = dict(zip(asked, found.scores, strict=True))
        pivot, number = (), 1
        for first in range(1, 15, 3):
            around = asked[first : first + 3]
            assert around == [(*pivot, number + k) for k in range(len(around))]
            number += len(around)
            best = max(around, key=lambda path: score[path])
            pivot = best if score[best] > score[pivot] else pivot
        assert found.path == pivot
        x = ZeroOrderSearch(cosine=0.8).noise(seed, (), SHAPE)
        assert found.pixels.norm().item() == pytest.approx(x.norm().item(), rel=1e-5)


def test_zero_order_climbs_where_random_draws_do_not():
    """The best of 60 normal numbers is 2.3 on average; a walk of 60 neighbours goes beyond."""
    walked = torch.tensor([sought(ZeroOrderSearch(neighbours=2, cosine=0.8), seed, 60)[0].score for seed in range(12)])
    drawn = torch.tensor([sought(RandomSearch(), seed, 60)[0].score for seed in range(12)])
    assert walked.mean() > drawn.mean() + 0.5


def test_no_more_candidates_are_drawn_than_are_left():
    candidates = Candidates(lambda paths: torch.zeros(len(paths), *SHAPE), First(), "a prompt", 2, 8)
    with pytest.raises(ValueError, match="no candidate was drawn"):
        candidates.found
    with pytest.raises(ValueError, match="3 candidates are more than the 2"):
        candidates.scores([(), (1,), (2,)])


def test_names_and_wrong_settings():
    assert tuple(SEARCHES) == SearchName.__args__
    for settings, words in (({"neighbours": 0}, "neighbours"), ({"cosine": 1.0}, "cosine")):
        with pytest.raises(ValueError, match=words):
            ZeroOrderSearch(**settings)
    with pytest.raises(ValueError, match="one number, not 2"):
        RandomSearch().noise(5, (1, 2), SHAPE)
