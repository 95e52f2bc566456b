"""Fine-tuning in half precision: how near it comes to float32."""

import pytest
import torch

from adapt_scenes import model, training_set
from intaglio.adapt.methods.dreambooth import DreamBooth
from intaglio.adapt.methods.lora import LoRATuning

MARGIN = {"bfloat16": 0.02, "float16": 0.002}
"""Largest relative distance of the last losses from float32's."""


@pytest.mark.parametrize("method", [DreamBooth, LoRATuning])
def test_half_precision_reaches_the_loss_of_float32(method):
    base, data = model(), training_set(2)
    settings = {"steps": 15, "batch": 2, "learning_rate": 3e-3}
    if method is LoRATuning:
        settings |= {"targets": ("to_q", "to_v", "ff.net.2", "conv1", "conv2"), "learning_rate": 3e-2}
    exact = method(**settings)(base, data)
    last = float(exact.losses[-3:].mean())
    assert last < 0.9 * float(exact.losses[0])
    for precision, margin in list(MARGIN.items())[: 1 if method is LoRATuning else 2]:  # a second of time
        found = method(**settings, precision=precision)(base, data)
        assert all(weight.dtype == torch.float32 for weight in found.model.denoiser.parameters())
        assert float(found.losses[-3:].mean()) == pytest.approx(last, rel=margin)
        assert not torch.equal(found.losses, exact.losses)
