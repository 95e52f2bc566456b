"""Losses of masks: each by hand on two rows, and what they are where nothing differs."""

import math

import pytest
import torch

from intaglio.explain.series.mask_losses import answer_gap, breaks, divergences, embedding_gap, size_loss


def test_embedding_gap_of_two_rows_is_that_of_their_one_cosine():
    whole = torch.tensor([[1.0, 0.0], [3.0, 4.0]])  # cosine 0.6
    masked = torch.tensor([[2.0, 0.0], [0.0, 5.0]])  # cosine 0
    assert float(embedding_gap(whole, masked)) == pytest.approx(2 * 0.6**2 / 4)
    assert float(embedding_gap(whole, 7 * whole)) == pytest.approx(0, abs=1e-12)


def test_divergence_of_two_answers_by_hand():
    first, second = (0.9, 0.1), (0.4, 0.6)
    middle = [(a + b) / 2 for a, b in zip(first, second, strict=True)]
    truth = sum(sum(p * math.log(p / m) for p, m in zip(one, middle, strict=True)) for one in (first, second)) / 2
    logits = torch.tensor([first, second]).log()
    found = divergences(logits)
    assert float(found[0, 1]) == pytest.approx(truth, rel=1e-5)
    assert float(found[1, 0]) == pytest.approx(truth, rel=1e-5)
    assert found.diagonal().tolist() == pytest.approx([0, 0], abs=1e-7)
    same = torch.tensor([first, first]).log()
    assert float(answer_gap(logits, same)) == pytest.approx(2 * truth**2 / 4, rel=1e-5)


def test_divergence_is_finite_and_at_most_log_2_where_answers_are_sure():
    found = divergences(torch.tensor([[300.0, 0.0], [0.0, 300.0]]))
    assert float(found[0, 1]) == pytest.approx(math.log(2))


@pytest.mark.parametrize(("p", "r"), [(0.9, 0.1), (0.1, 0.1), (0.3, 0.5)])
def test_size_loss_is_the_divergence_of_bernoulli_variables(p, r):
    logits = torch.logit(torch.full((1, 2, 1), p))
    truth = p * math.log(p / r) + (1 - p) * math.log((1 - p) / (1 - r))
    assert float(size_loss(logits, r)) == pytest.approx(truth, abs=1e-6)


def test_breaks_are_the_mean_change_along_time():
    logits = torch.logit(torch.tensor([[[0.2], [0.7], [0.6]]]))
    assert float(breaks(logits)) == pytest.approx((0.5 + 0.1) / 2, rel=1e-5)
