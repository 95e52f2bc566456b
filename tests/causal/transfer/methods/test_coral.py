import numpy as np
import torch
from torch.nn.functional import cross_entropy

from intaglio.causal.transfer.methods.coral import AlignedCovariances, covariance_distance
from intaglio.causal.transfer.transfer_network import RowBatch
from intaglio.randomness import generator

SMALL = {"updates": 3, "refit_updates": 3, "labelled": 2, "hidden": 4, "batch": 16}
BAD = {"weight": -1.0}
PIECES = {}


def test_the_distance_is_the_mean_over_pairs_of_that_of_numpys_covariances():
    rows = np.random.default_rng(0).standard_normal((30, 4))
    places = np.arange(30) % 3
    a, b, c = (np.cov(rows[places == k].T) for k in range(3))
    by_hand = np.mean([((one - two) ** 2).sum() / 64 for one, two in ((a, b), (a, c), (b, c))])
    found = covariance_distance(torch.from_numpy(rows).float(), torch.from_numpy(places))
    np.testing.assert_allclose(float(found), by_hand, rtol=1e-5)


def test_environments_of_one_row_have_no_covariance():
    rows = torch.randn(4, 2, generator=generator(0))
    assert float(covariance_distance(rows, torch.tensor([0, 0, 0, 1]))) == 0
    assert float(covariance_distance(rows[:, :1], torch.tensor([0, 0, 1, 1]))) > 0


def test_the_targets_rows_are_an_environment_of_their_own_in_the_refit():
    network = AlignedCovariances(hidden=0, weight=2.0).network(3, 2, 2)
    known = RowBatch(
        torch.randn(6, 3, generator=generator(0)), torch.tensor([0, 1] * 3), torch.tensor([0, 0, 0, 1, 1, 1])
    )
    target = 5 * torch.randn(4, 3, generator=generator(1))
    entropy = cross_entropy(network.probabilities(known.features).log(), known.labels)
    encoded = network.encoder(torch.cat([known.features, target]))
    expected = entropy + 2 * covariance_distance(encoded, torch.tensor([0, 0, 0, 1, 1, 1, 7, 7, 7, 7]))
    loss = network.refit_loss(target, known, generator(2))
    np.testing.assert_allclose(float(loss.detach()), float(expected.detach()), rtol=1e-5)
    assert float(network.loss(known, generator(2)).detach()) < float(loss.detach())
