"""Counts of layers, and sums of steps."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from energy_networks import convolution, head
from intaglio.energy.layers.kinds import KINDS
from intaglio.energy.layers.layer import LayerFamily, SizedLayer, Step, step_of


def counted(module, *inputs):
    with FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops()


def test_operations_and_weights_are_those_that_torch_counts():
    layer = SizedLayer(LayerFamily("convolution", (("taps", 9), ("bias", True))), (6, 10, 2 * 8 * 8))
    module = torch.nn.Conv2d(6, 10, 3, padding=1)
    assert layer.flops == counted(module, torch.zeros(2, 6, 8, 8))
    assert layer.parameters == sum(weight.numel() for weight in module.parameters())
    depthwise = SizedLayer(LayerFamily("convolution", (("taps", 9), ("depthwise", True))), (6, 6, 2 * 8 * 8))
    module = torch.nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False)
    assert depthwise.flops == counted(module, torch.zeros(2, 6, 8, 8))
    assert depthwise.parameters == sum(weight.numel() for weight in module.parameters())
    linear = SizedLayer(LayerFamily("linear", (("bias", True),)), (6, 10, 7))
    assert linear.flops == counted(torch.nn.Linear(6, 10), torch.zeros(7, 6))
    attention = SizedLayer(LayerFamily("attention"), (2 * 3, 5, 7, 8))
    scores, values = torch.zeros(6, 5, 8), torch.zeros(6, 7, 8)
    both = counted(torch.bmm, scores, values.mT) + counted(torch.bmm, torch.zeros(6, 5, 7), values)
    assert attention.flops == both
    product = SizedLayer(LayerFamily("matmul"), (3, 4, 5, 6))
    assert product.flops == counted(torch.bmm, torch.zeros(3, 4, 5), torch.zeros(3, 5, 6))
    for layers, both in ((1, False), (2, False), (2, True)):
        module = torch.nn.LSTM(5, 7, layers, bidirectional=both)
        family = LayerFamily("lstm", (("layers", layers), ("bidirectional", both)))
        assert SizedLayer(family, (5, 7, 3, 2)).parameters == sum(weight.numel() for weight in module.parameters())


def test_roles_multiply_products():
    first, hidden = convolution(8, 16, 16, first=True), convolution(8, 16, 16)
    assert (first.family.passes, hidden.family.passes) == (2, 3)
    assert hidden.flops == 3 * 2 * 32 * 64 * 9 * 16 * 16


def test_a_step_counts_calls():
    step = step_of([head(8), head(8), head(16)])
    assert step.layers == {head(8): 2, head(16): 1}
    twice = step + step.times(2)
    assert twice.layers == {head(8): 6, head(16): 3}
    assert twice.flops == 3 * step.flops
    assert (Step({}, {"fft": 3.0}) + Step({}, {"fft": 1.0}, ("seen",))).unparsed == {"fft": 4.0}


def test_what_is_no_layer_is_refused():
    with pytest.raises(ValueError, match="no kind of layer 'sponge'; there are convolution"):
        LayerFamily("sponge")
    with pytest.raises(ValueError, match="has no size colour"):
        LayerFamily("linear", fixed=(("colour", 3),))
    with pytest.raises(ValueError, match="takes 3 sizes"):
        SizedLayer(LayerFamily("linear"), (3, 4))
    with pytest.raises(ValueError, match="of 1 or more"):
        SizedLayer(LayerFamily("linear"), (3, 4, 0))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_counts(kind):
    family = LayerFamily(kind)
    layer = SizedLayer(family, (4,) * len(family.free))
    assert layer.flops >= 0
    assert layer.bytes > 0
    assert set(family.of_kind.tiled) <= set(family.of_kind.sizes)
