import numpy as np
import torch
from torch.nn.functional import cross_entropy

from intaglio.causal.transfer.methods.erm import PooledClassifier
from intaglio.causal.transfer.transfer_network import RowBatch
from intaglio.randomness import generator
from transfer_scenes import planted

SMALL = {"updates": 3, "refit_updates": 3, "labelled": 2, "hidden": 4, "batch": 16}
BAD = {"numbers": 0}
PIECES = {}


def test_it_learns_what_every_environment_shares_and_has_no_refit_without_outcomes():
    found = PooledClassifier(updates=150, refit_updates=20, hidden=0, labelled=10, checks=False)(
        planted(100, 0)[0], "far"
    )
    assert list(found.stages) == ["zero-shot", "labelled"]
    assert found.accuracy["zero-shot"] > 0.75
    assert (found.agreement, found.left_out) == ({}, ())


def test_outcomes_of_the_target_are_half_of_the_loss():
    network = PooledClassifier(hidden=2).network(3, 2, 2)
    known = RowBatch(
        torch.randn(5, 3, generator=generator(0)), torch.tensor([0, 1, 0, 1, 1]), torch.tensor([0, 1, 0, 1, 1])
    )
    told = RowBatch(torch.randn(2, 3, generator=generator(1)), torch.tensor([1, 0]), None)
    parts = [cross_entropy(network.probabilities(one.features).log(), one.labels) for one in (known, told)]
    loss = network.labelled_loss(told, told.features, known, generator(2))
    np.testing.assert_allclose(float(loss.detach()), float(sum(parts)), rtol=1e-5)
