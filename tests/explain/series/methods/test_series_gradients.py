import torch

from intaglio.explain.series.methods.series_gradients import SeriesGradients, shares
from intaglio.explain.series.series_network import SeriesNetwork
from intaglio.randomness import first_weights
from series_scenes import LONGER, check_the_point_comes_first

SMALL = {"width": 16, "updates": 12, "rows": 64, "draws": 1, "batch": 64, "learning_rate": 0.01, "halts": 3}
BAD = {"halts": 0}
PIECES = {"batch": 3}


def test_the_point_that_tells_the_class_comes_first():
    check_the_point_comes_first(SeriesGradients(**LONGER))


def test_shares_of_integrated_gradients_add_up_to_the_difference_of_logits():
    with first_weights(0):
        network = SeriesNetwork(2, 3, 16, 1).double()
    network.requires_grad_(False)
    values, base = torch.randn(4, 5, 2, dtype=torch.float64), torch.zeros(5, 2, dtype=torch.float64)
    called = torch.tensor([0, 1, 2, 0])
    found = shares(network, base, values, called, 64).sum((1, 2))
    ends = [network(one).logits.gather(1, called[:, None])[:, 0] for one in (values, base.expand_as(values))]
    torch.testing.assert_close(found, ends[0] - ends[1], atol=1e-4, rtol=0)
