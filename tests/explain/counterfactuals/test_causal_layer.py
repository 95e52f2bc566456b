"""The causal layer by hand: a chain of three, listed effects first."""

import torch
from torch import nn

from intaglio.explain.counterfactuals.attribute_graph import AttributeGraph
from intaglio.explain.counterfactuals.causal_layer import CausalLayer

C, A, B = 0, 1, 2


def chain():
    """b = 2 a + u_b, c = 3 b + a + u_c, with columns c, a, b."""
    layer = CausalLayer(AttributeGraph.of(("c", "a", "b"), [("a", "b"), ("b", "c"), ("a", "c")]))
    weights = {"0": [[1.0, 3.0]], "2": [[2.0]]}  # of c at (a, b), and of b at (a)
    for name, weight in weights.items():
        line = nn.Linear(len(weight[0]), 1, bias=False)
        line.weight.data = torch.tensor(weight)
        layer.mechanisms[name] = line
    return layer


NOISES = torch.tensor([[0.5, 1.0, -1.0], [0.0, 2.0, 0.25]])
VALUES = torch.tensor([[4.5, 1.0, 1.0], [14.75, 2.0, 4.25]])


def test_values_follow_from_noises_and_back():
    layer = chain()
    torch.testing.assert_close(layer.values(NOISES), VALUES)
    torch.testing.assert_close(layer.noises(VALUES), NOISES)


def test_what_is_set_reaches_effects_of_effects_and_each_keeps_its_own_noise():
    found = chain().changed(VALUES, {A: torch.tensor([0.0, 1.0])})
    # b = 2 a - 1 and 2 a + 0.25; c = 3 b + a + 0.5 and 3 b + a. Causes' noises in place of values would leave c alone.
    torch.testing.assert_close(found, torch.tensor([[-2.5, 0.0, -1.0], [7.75, 1.0, 2.25]]))


def test_causes_of_what_is_set_stay_and_no_longer_act_on_it():
    layer = chain()
    found = layer.changed(VALUES, {B: torch.tensor([5.0, 5.0])})
    torch.testing.assert_close(found, torch.tensor([[16.5, 1.0, 5.0], [17.0, 2.0, 5.0]]))
    both = layer.changed(VALUES, {A: torch.tensor([7.0, 7.0]), B: torch.tensor([5.0, 5.0])})
    torch.testing.assert_close(both[:, B], torch.tensor([5.0, 5.0]))
    torch.testing.assert_close(both[:, C], torch.tensor([22.5, 22.0]))


def test_nothing_set_changes_nothing():
    layer = CausalLayer(AttributeGraph.of(("a", "b", "c"), [("a", "b"), ("a", "c")]))
    values = torch.rand(5, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(layer.changed(values, {}), values)
    torch.testing.assert_close(layer.caused(values)[:, 0], torch.zeros(5))
