"""AdamW with moments of 8 bits: near AdamW, in a quarter of the memory, and gone on with to the bit."""

import importlib.util

import pytest
import torch

from intaglio.errors import IntaglioError
from intaglio.learning.optimizers import moments_bytes
from intaglio.learning.settings import OptimizerSettings
from intaglio.learning.trainer import Trainer

SETTINGS = {"steps": 8, "learning_rate": 0.01, "weight_decay": 0.1, "clip": None}
needs_library = pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is optional")


def descended(optimizer, saved=None, until=8):
    """Updates along gradients that are a function of weights and step; the trainer, and its weights."""
    weights = {"large": torch.linspace(-1, 1, 9000).view(90, 100).clone(), "small": torch.linspace(-1, 1, 300).clone()}
    trainer = Trainer(weights, OptimizerSettings(**SETTINGS, optimizer=optimizer))
    if saved is not None:
        trainer.restore(*saved)
    while trainer.step < until:
        for weight in weights.values():
            noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(trainer.step))
            weight.grad = weight.detach() + 0.1 * noise
        trainer.update(0.0, torch.tensor(1.0))
    return trainer, weights


@needs_library
def test_moments_of_eight_bits_follow_those_of_float32():
    (exact, plain), (coded, found) = descended("adamw"), descended("adamw-8bit")
    start = torch.linspace(-1, 1, 9000).view(90, 100)
    moved = (plain["large"] - start).norm()
    assert 0 < (found["large"] - plain["large"]).norm() < 0.05 * moved
    torch.testing.assert_close(found["small"], plain["small"], rtol=1e-5, atol=1e-6)  # below 4096 numbers: float32
    held = coded.state()
    sizes = {
        name: sum(v.nbytes for k, v in held.items() if k.endswith(f"/{name}") and "weight" not in k) for name in found
    }
    assert sizes == {name: moments_bytes("adamw-8bit", weight.numel()) for name, weight in found.items()}
    assert sizes["large"] == 2 * 9000 + 2 * 4 * 36  # 36 blocks of 256
    full = sum(v.nbytes for k, v in exact.state().items() if k.startswith("exp_avg") and k.endswith("/large"))
    assert full == moments_bytes("adamw", 9000) == 8 * 9000


@needs_library
def test_a_restored_training_goes_on_with_the_same_bits():
    _, whole = descended("adamw-8bit")
    half, _ = descended("adamw-8bit", until=3)
    state = {name: value.clone() for name, value in half.state().items()}
    _, again = descended("adamw-8bit", (state, 3))
    assert all(torch.equal(again[name], whole[name]) for name in whole)
    with pytest.raises(IntaglioError, match="another optimiser"):
        descended("adamw", (state, 3))


def test_without_the_library_it_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"optimizer adamw-8bit needs bitsandbytes; install it: pip install"):
        OptimizerSettings(optimizer="adamw-8bit")
    assert OptimizerSettings().optimizer == "adamw"
