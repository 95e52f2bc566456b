"""Layers of a network, their pairing with another's, and the result's file."""

import pytest
import torch
from torch import nn

from intaglio.errors import BadInput, IntaglioError
from intaglio.explain.weights.kernel_layers import kernel_layers, paired
from intaglio.explain.weights.methods.norms import KernelNorms
from intaglio.explain.weights.result import KernelReadings


def network(width=4):
    layers = nn.Conv2d(3, width, 3), nn.Conv2d(width, width, 1), nn.Linear(width, 2), nn.Conv2d(width, 2, (1, 5))
    return nn.Sequential(*layers)


def test_kernels_of_one_place_and_linear_layers_are_left_out():
    assert [(one.name, tuple(one.kernels.shape)) for one in kernel_layers(network())] == [
        ("0", (4, 3, 3, 3)),
        ("3", (2, 4, 1, 5)),
    ]


def test_networks_that_cannot_be_read_are_told():
    with pytest.raises(BadInput, match="no convolution with kernels of more than one place"):
        kernel_layers(nn.Sequential(nn.Linear(2, 2), nn.Conv2d(2, 2, 1)))
    broken = network()
    broken[0].weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(IntaglioError, match="kernels of 0 are not finite"):
        kernel_layers(broken)
    with pytest.raises(BadInput, match="0 is .4, 3, 3, 3. and the network of --against has it as .5, 3, 3, 3."):
        paired(kernel_layers(network()), kernel_layers(network(5)))


def test_a_layer_is_paired_by_its_name_and_the_most_shifted_is_named():
    one, other = network(), network()
    other.load_state_dict(one.state_dict())
    other[3].weight.data += 1
    found = KernelNorms(draws=2)(kernel_layers(one), tuple(reversed(kernel_layers(other))))
    assert [layer.shift == 0 for layer in found.layers] == [True, False]
    assert "3 is shifted most" in found.statement
    assert found.shown(1) == ("3",)


def test_a_damaged_file_is_told(tmp_path):
    found = KernelNorms(draws=2)(kernel_layers(network()))
    found.save(tmp_path)
    assert KernelReadings.load(tmp_path) == found
    text = (tmp_path / "kernels.json").read_text()
    (tmp_path / "kernels.json").write_text(text.replace('"gain"', '"gain", "more"'))
    with pytest.raises(BadInput, match="is damaged .the figures do not fit the layers."):
        KernelReadings.load(tmp_path)
