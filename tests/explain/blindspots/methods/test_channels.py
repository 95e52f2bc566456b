import torch

from intaglio.explain.blindspots.methods.channels import ChannelEnergies
from intaglio.runs.run import Run

SMALL = {"batch": 2}
BAD = {"ratio": 1.0}
PIECES = {"batch": 3}


def test_codes_are_the_channels_above_0():
    read = ChannelEnergies().fit(torch.zeros(1, 2), Run.none())
    assert read.codes(torch.tensor([[1.5, -2.0]])).tolist() == [[1.5, 0.0]]
    assert read.left is None
