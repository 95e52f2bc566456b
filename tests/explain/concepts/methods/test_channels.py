import numpy as np

from intaglio.explain.concepts.methods.channels import ChannelConcepts

SMALL = {"count": 3, "points": 4}
BAD = {"batch": 0}
PIECES = {"batch": 3}


def test_the_channels_that_vary_most_are_taken():
    features = np.array([[0.0, 5.0, 1.0, 0.0], [0.1, 5.0, 3.0, 9.0], [0.0, 5.0, 2.0, 0.0]])
    bank = ChannelConcepts(count=2).bank(features)
    assert bank.tolist() == [[0, 0, 0, 1], [0, 0, 1, 0]]
    assert ChannelConcepts().codes(features, bank).tolist() == [[0, 1], [9, 3], [0, 2]]
