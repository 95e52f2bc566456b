"""Mixed precision: what is computed in half precision, what is not, and the scale of losses in float16."""

import math
import warnings

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from intaglio.errors import IntaglioError
from intaglio.learning.checkpoints import STATE, Checkpoints
from intaglio.learning.loop import StepLoss, backward, train
from intaglio.learning.loss_scale import FIRST, LossScale
from intaglio.learning.mixed_precision import computing_in
from intaglio.learning.settings import OptimizerSettings
from intaglio.learning.trainer import Trainer
from intaglio.runs.run import Run

PLAIN = OptimizerSettings(steps=6, learning_rate=0.01, weight_decay=0.0, clip=None)


class Two(nn.Module):
    """Two layers, of which the second can be recomputed in the backward pass."""

    def __init__(self, recomputed=False):
        super().__init__()
        self.first, self.second, self.recomputed = nn.Linear(4, 8), nn.Linear(8, 2), recomputed
        for k, weight in enumerate(self.parameters()):
            weight.data = torch.randn(weight.shape, generator=torch.Generator().manual_seed(k))

    def forward(self, x):
        x = self.first(x).tanh()
        return checkpoint(self.second, x, use_reentrant=False) if self.recomputed else self.second(x)


def given(rows=5):
    return torch.randn(rows, 4, generator=torch.Generator().manual_seed(9))


def by_hand(network, x, dtype):
    """Products of rounded numbers, rounded."""
    first, second = ((layer.weight.to(dtype), layer.bias.to(dtype)) for layer in (network.first, network.second))
    hidden = torch.nn.functional.linear(x.to(dtype), *first).tanh()
    return torch.nn.functional.linear(hidden, *second)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_networks_round_inside_and_give_float32(dtype):
    network, x = Two(), given()
    plain, heard = network(x), []
    network.second.register_forward_pre_hook(lambda module, given: heard.append(given[0].dtype))
    with computing_in(str(dtype).removeprefix("torch."), [network]):
        found, part = network(x), network.second(network.first(x).tanh())
        outside = x @ x.T
    assert found.dtype == part.dtype == torch.float32
    assert heard[0] == dtype  # between its layers as well
    assert torch.equal(found, by_hand(network, x, dtype).float())
    assert not torch.equal(found, plain)
    assert torch.equal(outside, x @ x.T)  # sums and losses stay float32
    assert part.sub(found).abs().max() < 0.05  # parts called by themselves round as well
    assert not torch.equal(part, plain)
    assert torch.equal(network(x), plain)
    with computing_in("float32", [network]):
        assert not network._forward_hooks
        assert torch.equal(network(x), plain)


def test_networks_are_left_as_they_were_after_an_error():
    network = Two()
    with pytest.raises(RuntimeError), computing_in("bfloat16", [network]):
        network(torch.zeros(1, 3))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert not torch.is_autocast_enabled("cpu")


def test_recomputed_layers_round_as_they_did():
    gradients = []
    for recomputed in (False, True):
        network = Two(recomputed)
        with computing_in("bfloat16", [network]):
            network(given()).square().sum().backward()
        gradients.append([weight.grad for weight in network.parameters()])
    assert all(torch.equal(one, two) for one, two in zip(*gradients, strict=True))
    assert all(gradient.dtype == torch.float32 for gradient in gradients[0])


def scaled(network, factor, scale=None):
    """The gradients of a factor times the mean square of a network in float16."""
    scale = LossScale() if scale is None else scale
    leaves = list(network.parameters())
    for leaf in leaves:
        leaf.grad = None

    def made():
        return backward(factor * network(given()).square().mean())

    with computing_in("float16", [network]):
        scale.step(made, leaves, lambda: [setattr(leaf, "grad", None) for leaf in leaves])
    return [leaf.grad for leaf in leaves]


@pytest.mark.parametrize("factor", [1e-9, 1.0, 1e5])
def test_scaled_losses_neither_vanish_nor_overflow(factor):
    network = Two()
    (factor * network(given()).square().mean()).backward()
    exact = [weight.grad for weight in network.parameters()]
    found = scaled(network, factor)
    for one, two in zip(found, exact, strict=True):
        assert (one - two).norm() < 0.01 * two.norm()
    if factor < 1:
        for weight in network.parameters():
            weight.grad = None
        with computing_in("float16", [network]):
            (factor * network(given()).square().mean()).backward()
        assert network.first.weight.grad.norm() < 0.9 * exact[0].norm()  # without a scale it is lost


def test_an_overflow_halves_the_scale_and_makes_the_step_again():
    network, scale, tries = Two(), LossScale(), []
    leaves = list(network.parameters())
    scale.value = 2.0**40

    def made():
        tries.append(scale.value)
        return backward(network(given()).square().mean())

    for leaf in leaves:
        leaf.grad = None
    with computing_in("float16", [network]):
        drop = lambda: [setattr(leaf, "grad", None) for leaf in leaves]  # noqa: E731
        assert isinstance(scale.step(made, leaves, drop), StepLoss)
    assert tries == [2.0 ** (40 - k) for k in range(len(tries))]
    assert len(tries) > 1
    assert scale.value == tries[-1]
    assert all(leaf.grad.isfinite().all() for leaf in leaves)


def test_gradients_of_parts_are_those_of_the_loss_and_add_up():
    """Two backward passes and one gradient asked for by itself, all of a function without half precision: exact."""
    weight, other = torch.tensor([3.0, -2.0], requires_grad=True), torch.tensor(5.0, requires_grad=True)
    asked = []

    def made():
        weight.pow(3).sum().backward()
        asked.extend(torch.autograd.grad((weight * other).sum(), [weight, other]))
        weight.square().backward(torch.tensor([1.0, 10.0]))
        return StepLoss(0.0)

    LossScale().step(made, [weight], lambda: None)
    assert weight.grad.tolist() == [27.0 + 6.0, 12.0 - 40.0]
    assert [one.tolist() for one in asked] == [[5.0, 5.0], 1.0]


def test_the_scale_doubles_after_two_thousand_steps():
    scale = LossScale()
    for _ in range(2000):
        assert scale.value == FIRST
        scale.step(lambda: None, [], lambda: None)
    assert scale.value == 2 * FIRST


def test_what_is_not_finite_at_any_scale_ends_the_run():
    weight = torch.tensor([1.0])
    trainer = Trainer({"weight": weight}, PLAIN, precision="float16")
    with pytest.raises(IntaglioError, match="not finite at step 1"):
        train(trainer, lambda step: backward((weight * math.inf).sum()), *alone(Run.none()))


def alone(run, every=0):
    return run, Checkpoints(run, every_s=1e9, every=every)


def solved(run, precision, kill=None):
    """A training whose gradients overflow at the first scale, so that the scale is part of what is saved."""
    network = Two()
    trainer = Trainer(dict(network.named_parameters()), PLAIN, precision=precision)
    run, checkpoints = alone(run, every=2)
    checkpoints.restore(trainer)

    def objective(step):
        if step == kill:
            raise RuntimeError("the power went")
        return backward((network(given()) - step).square().mean() * 100)

    with computing_in(precision, [network]):
        train(trainer, objective, run, checkpoints)
    return trainer, [weight.detach().clone() for weight in network.parameters()]


def test_the_scale_is_part_of_the_state():
    one, two = (Trainer({"weight": torch.zeros(2)}, PLAIN, precision="float16") for _ in range(2))
    one.scale.value = 2.0**7
    one.scale.step(lambda: None, [], one.drop_gradients)
    two.restore(one.state(), 3)
    assert two.scale.state().tolist() == [2.0**7, 1]
    assert "scale" not in Trainer({"weight": torch.zeros(2)}, PLAIN).state()


def test_a_killed_training_in_float16_ends_with_the_same_bits_and_scale(tmp_path):
    def opened():
        return Run.open(tmp_path, "t", "x", {}, {}, seed=0, device="cpu", command=["x"], progress="none")

    whole, weights = solved(Run.none(), "float16")
    assert whole.scale.value < FIRST
    with opened() as run, pytest.raises(RuntimeError, match="power"):
        solved(run, "float16", kill=5)
    with opened() as run:
        assert float(run.load_state(STATE)[0]["scale"][0]) < FIRST
        again, found = solved(run, "float16")
    assert all(torch.equal(one, two) for one, two in zip(found, weights, strict=True))
    assert torch.equal(again.scale.state(), whole.scale.state())


def test_norms_by_weights_of_float32_are_not_warned_of():
    network, always = nn.Sequential(nn.Linear(4, 4), nn.RMSNorm(4)), torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            with computing_in("bfloat16", [network]):
                network(torch.ones(2, 4))
    finally:
        torch.set_warn_always(always)
    assert found == []
