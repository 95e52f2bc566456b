import torch

from exact_draws import ExactMixture, drawn
from intaglio.sampling.calls import Calls
from intaglio.sampling.methods.plain import Plain

SMALL = {}
BAD = {}
PIECES = {}

MODEL = ExactMixture(
    torch.tensor([[[[-1.0]]], [[[2.0]]]]), torch.tensor([0.1, 0.3]), {"": [0.0, 0.0], "right": [-9.0, 0.0]}
)


def test_it_is_the_loop_without_a_method():
    for scale in (1.0, 3.0):
        known = drawn(MODEL, prompt="right", count=5, steps=6, scale=scale)
        assert torch.equal(drawn(MODEL, Plain(), prompt="right", count=5, steps=6, scale=scale), known)


def test_calls_are_those_of_the_plan():
    for sampler, nodes in (("ddim", 6), ("heun", 11)):
        calls = Calls()
        drawn(MODEL, Plain(), prompt="right", count=5, steps=6, scale=2.0, sampler=sampler, calls=calls)
        assert calls == Calls(forward=5 * 2 * nodes)
