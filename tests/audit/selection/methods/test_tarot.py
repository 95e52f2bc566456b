import pytest
import torch

from influence_scenes import examples
from intaglio.audit.selection.methods.mean_gradient import MeanGradient
from intaglio.audit.selection.methods.tarot import Tarot, _by_rank, grown, whitened
from intaglio.errors import BadInput

SMALL = {"timesteps": 2, "width": 64, "size": 2, "micro_batch": 4}
BAD = {"blur": 0.0}
PIECES = {"micro_batch": 1}


def planted(on=40, off=160, targets=30, nuisance=30.0, seed=0):
    """Candidates of which the first `on` point as the targets do, all with one long direction that tells nothing."""
    draws = torch.Generator().manual_seed(seed)

    def rows(count, helpful):
        found = torch.randn(count, 6, generator=draws, dtype=torch.float64)
        found[:, 0] *= nuisance
        found[:, 1] += 2.5 if helpful else -2.5
        return found

    return torch.cat([rows(on, True), rows(off, False)]), rows(targets, True)


def test_whitened_gradients_have_a_covariance_of_one():
    draws = torch.Generator().manual_seed(1)
    mixing = torch.randn(6, 6, generator=draws, dtype=torch.float64)
    both = torch.randn(500, 6, generator=draws, dtype=torch.float64) @ mixing + 3
    pool, aims = whitened(both[:400], both[400:])
    assert (torch.cat([pool, aims]).norm(dim=1) - 1).abs().max() < 1e-12
    centred = both - both.mean(0)
    expected = centred @ torch.linalg.inv(torch.linalg.cholesky(centred.T @ centred / 500)).T
    # the added 1e-5 of the mean variance is felt in the direction that varies least
    torch.testing.assert_close(torch.nn.functional.normalize(expected, dim=1)[:400], pool, rtol=0, atol=5e-3)


def test_with_fewer_pictures_than_numbers_a_tenth_of_the_mean_variance_is_added():
    both = torch.randn(6, 20, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    pool, aims = whitened(both[:4], both[4:])
    centred = both - both.mean(0)
    covariance = centred.T @ centred / 6
    shrunk = covariance + 0.1 * covariance.trace() / 20 * torch.eye(20, dtype=torch.float64)
    products = centred @ torch.linalg.inv(shrunk) @ centred.T  # whitening by any root gives these
    scale = products.diagonal().rsqrt()
    found = torch.cat([pool, aims]) @ torch.cat([pool, aims]).T
    torch.testing.assert_close(found, scale[:, None] * products * scale)


def test_a_long_direction_that_tells_nothing_misleads_mean_products_and_not_whitened_ones():
    candidates, target = planted()
    order = range(len(target))
    found = Tarot(size=40).among(candidates, target, order)
    best = found.scores.argsort(descending=True)[:40]
    theirs = MeanGradient(size=40).among(candidates, target, order).places
    assert int((best < 40).sum()) >= 38
    assert sum(place < 40 for place in found.places) >= 32
    assert sum(place < 40 for place in theirs) <= 15


def test_without_a_size_the_choice_stops_near_those_that_help():
    candidates, target = planted()
    found = Tarot().among(candidates, target, range(len(target)))
    right = sum(place < 40 for place in found.places)
    assert right >= 30
    assert len(found.places) - right <= 15
    assert sum(found.weights) == pytest.approx(1)
    distances = [distance for _, distance in found.curve]
    assert distances[:-1] == sorted(distances[:-1], reverse=True)
    assert distances[-1] > distances[-2] or len(distances) == 12


def test_candidates_are_added_until_the_distance_first_rises():
    """Points on a line: own targets at 0 rank candidates by nearness; the others lie where the first two do."""
    at = torch.tensor([0.0, 1.0, 2.0, 9.0], dtype=torch.float64)
    cosines = (1 - at / 10)[:, None]
    distances = (at[:, None] - torch.tensor([0.0, 1.0], dtype=torch.float64)).abs()
    taken, course = grown(cosines, distances, 1e-3)
    assert taken == {0, 1}
    # uniform weights: one candidate at 0: 1/2; two: 0; three at 0, 1, 2: moves 1/3 to 0 ... a cost of 1/2
    torch.testing.assert_close([d for _, d in course], [0.5, 0.0, 0.5], atol=5e-3, rtol=0)
    assert grown(-cosines, distances, 1e-3) == (set(), [])


def test_by_rank_the_best_of_every_target_comes_first():
    pool = torch.eye(4, dtype=torch.float64)
    cosines = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.8, 0.2], [0.1, 0.0]], dtype=torch.float64)
    distances = (2 - 2 * cosines).sqrt()
    assert sorted(_by_rank(cosines, distances, 2, 0.01)) == [0, 1]
    assert _by_rank(cosines, distances, 3, 0.01)[2] == 2
    assert len(_by_rank(cosines, distances, 4, 0.01)) == len(pool)


def test_what_cannot_be_chosen_is_refused_with_the_remedy():
    net, train, queries = examples()
    one = type(queries)(queries.images[[0]], queries.prompts[:1], queries.latents[:1])
    with pytest.raises(BadInput, match="one target is too few .* give a --size"):
        Tarot(timesteps=1, width=64)(net, train, one)
    with pytest.raises(BadInput, match="4 chosen of 4 candidates is no choice; give a smaller --size"):
        Tarot(size=4)(net, train, queries)
    with pytest.raises(BadInput, match="give a --width"):
        Tarot(width=0, size=1)(net, train, queries)
    for bad in ({"folds": 1}, {"size": 0}, {"blur": float("nan")}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            Tarot(**bad)
