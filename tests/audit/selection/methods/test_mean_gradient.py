import pytest
import torch

from influence_scenes import examples, gradients
from intaglio.audit.selection.methods.mean_gradient import MeanGradient

SMALL = {"timesteps": 2, "width": 64, "size": 2, "micro_batch": 4}
BAD = {"size": 0}
PIECES = {"micro_batch": 1}


def test_scores_are_products_with_the_mean_gradient_and_the_highest_are_chosen():
    net, train, queries = examples()

    def loss(z, noise, t, text):
        return net.error(z, noise, t, text).mean()

    phi, asked = (gradients(net, one, loss, timesteps=[0, 500]) for one in (train, queries))
    found = MeanGradient(timesteps=2, width=0, size=2)(net, train, queries)
    expected = phi @ asked.mean(0)
    torch.testing.assert_close(found.scores, expected, rtol=1e-3, atol=1e-8)
    assert list(found.places) == expected.argsort(descending=True)[:2].tolist()
    assert found.weights == pytest.approx((0.5, 0.5))
