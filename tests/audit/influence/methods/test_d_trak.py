import torch

from influence_scenes import examples, gradients
from intaglio.audit.influence.methods.d_trak import DTrak
from intaglio.audit.influence.methods.trak import Trak

SMALL = {"timesteps": 2, "width": 64, "micro_batch": 4}
BAD = {"damping": -1.0}
PIECES = {"micro_batch": 1}


def test_gradients_are_of_the_mean_squared_prediction_of_pictures_asked_about_too():
    net, train, queries = examples()

    def square(z, noise, t, text):
        return (net.predict(net.noised(z, noise, t), t, text) ** 2).mean()

    phi, asked = (gradients(net, one, square, timesteps=[0, 500]) for one in (train, queries))
    damping = 0.3 * phi.square().sum(1).mean()
    left, values, right = torch.linalg.svd(phi, full_matrices=False)  # phi = left diag(values) right
    expected = asked @ right.T @ torch.diag(values / (values**2 + damping)) @ left.T
    found = DTrak(timesteps=2, width=0, damping=0.3)(net, train, queries)
    torch.testing.assert_close(found.tau, expected, rtol=1e-3, atol=1e-6)
    assert not torch.allclose(found.tau, Trak(timesteps=2, width=0, damping=0.3)(net, train, queries).tau, atol=1e-3)


def test_a_training_picture_asked_about_is_its_own_first_proponent():
    net, train, queries = examples()
    assert DTrak(timesteps=4)(net, train, queries).own_ranks == {1: 1}
