import pytest
import torch

from influence_scenes import examples, gradients
from intaglio.audit.influence.methods.grad_dot import GradDot
from intaglio.audit.influence.methods.trak import Trak

SMALL = {"timesteps": 2, "width": 64, "micro_batch": 4}
BAD = {"damping": 0.0}
PIECES = {"micro_batch": 1}


def test_numbers_are_the_loss_gradients_whitened_by_those_of_the_training_set():
    net, train, queries = examples()

    def loss(z, noise, t, text):
        return net.error(z, noise, t, text).mean()

    phi, asked = (gradients(net, one, loss, timesteps=[0, 500]) for one in (train, queries))
    damping = 0.3 * phi.square().sum(1).mean()
    left, values, right = torch.linalg.svd(phi, full_matrices=False)  # phi = left diag(values) right
    expected = asked @ right.T @ torch.diag(values / (values**2 + damping)) @ left.T
    found = Trak(timesteps=2, width=0, damping=0.3)(net, train, queries)
    torch.testing.assert_close(found.tau, expected, rtol=1e-3, atol=1e-6)


def test_a_training_picture_asked_about_is_its_own_first_proponent():
    net, train, queries = examples()
    found = Trak(timesteps=4)(net, train, queries)
    assert found.own_ranks == {1: 1}
    assert 0.5 < found.tau[1, 2] < 1
    assert "1 of the pictures asked about is itself a training picture, of which 1 ranks first for itself" in (
        found.statement
    )


def test_with_much_damping_it_is_the_product_of_the_gradients():
    net, train, queries = examples()
    found = Trak(timesteps=1, damping=1e6)(net, train, queries).tau
    plain = GradDot(timesteps=1)(net, train, queries).tau
    torch.testing.assert_close(found / found.abs().max(), plain / plain.abs().max(), rtol=1e-4, atol=1e-5)


def test_a_damping_of_nothing_is_refused():
    for damping in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="damping must be above 0"):
            Trak(damping=damping)
