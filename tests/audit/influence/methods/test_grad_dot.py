import torch

from influence_scenes import ATTENTION, examples, gradients, noises_of
from intaglio.audit.influence.methods.grad_dot import GradDot

SMALL = {"timesteps": 2, "width": 64, "micro_batch": 4}
BAD = {"timesteps": 0}
PIECES = {"micro_batch": 1}


def test_numbers_are_the_products_of_the_loss_gradients_of_the_attention():
    net, train, queries = examples()

    def loss(z, noise, t, text):
        return net.error(z, noise, t, text).mean()

    of_train, of_queries = (gradients(net, one, loss, timesteps=[0, 333, 666], noises=2) for one in (train, queries))
    found = GradDot(timesteps=3, noises=2, width=0, micro_batch=4)(net, train, queries)
    torch.testing.assert_close(found.tau, of_queries @ of_train.T, rtol=1e-4, atol=1e-9)
    assert GradDot.role == "baseline"


def test_a_step_down_an_example_lowers_a_querys_loss_by_its_number_times_the_step():
    """So the removal of that step raises it, and a positive number is of a proponent."""
    net, train, queries = examples()
    net.denoiser.double()
    noise, t = noises_of(train.latents.shape[1:], [0, 500])

    def loss(model, one, row):
        return model.error(one.latents[[row, row]], noise, t, model.embed([one.prompts[row]] * 2)).mean()

    tau, step = GradDot(timesteps=2, width=0)(net, train, queries).tau, 1e-2
    moved = net.copy()
    weights = [w for name, w in moved.denoiser.named_parameters() if name.endswith(ATTENTION)]
    found = torch.autograd.grad(loss(moved, train, 3), weights)
    with torch.no_grad():
        for weight, gradient in zip(weights, found, strict=True):
            weight -= step * gradient
        for query in range(2):
            change = float(loss(moved, queries, query) - loss(net, queries, query))
            assert abs(change / (-step * float(tau[query, 3])) - 1) < 0.1
