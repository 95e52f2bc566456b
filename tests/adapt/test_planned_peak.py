"""The memory of a plan, held against what torch's allocator gives out in the training itself."""

from types import SimpleNamespace

import pytest
import torch

from adapt_scenes import model, training_set
from intaglio.adapt.data import TrainingSet
from intaglio.adapt.fitting_settings import device_bytes
from intaglio.adapt.methods.dreambooth import DreamBooth
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.bench.models.measured_peak import peak_bytes
from intaglio.errors import IntaglioError
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.loading import load_model
from intaglio.models.diffusion.packed_base import PackedBase
from intaglio.models.packing.packed_linear import PackedLinear
from intaglio.models.testbed import base_path

MARGIN = 0.2
"""Largest relative distance of the plan from the measured peak."""
HALF = {"precision": "bfloat16", "gradient_checkpointing": True}


def measured(method, base, data):
    """The base, and the most that was allocated at once in two steps on top of it."""
    return peak_bytes(lambda: method(base, data), base)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(DreamBooth, {}), (DreamBooth, {**HALF, "ema": 0.9}), (LoRATuning, {"micro_batch": 1}), (LoRATuning, HALF)],
)
def test_a_plan_is_near_the_measured_peak(kind, settings):
    base, data = model(), training_set(2)
    method = kind(batch=2, steps=2, **settings)
    peak = measured(method, base, data)
    assert method.plan(base, data).memory_bytes == pytest.approx(peak, rel=MARGIN)
    if "micro_batch" not in settings:
        assert method.dry_plan(base, data).memory_bytes == pytest.approx(peak, rel=MARGIN)


@pytest.mark.parametrize(("kind", "settings"), [(DreamBooth, {"precision": "bfloat16"}), (LoRATuning, {})])
def test_a_plan_of_the_embedded_model_is_too(kind, settings):
    base = load_model(base_path())
    side = base.resolution
    data = TrainingSet(ImageSet.from_pixels(torch.rand(2, 3, side, side)), prompt="a cat")
    method = kind(batch=2, steps=1, **settings)
    assert method.plan(base, data).memory_bytes == pytest.approx(measured(method, base, data), rel=MARGIN)


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_a_plan_counts_packed_bytes(kind):
    data = training_set(2)
    base = PackedBase.of(model(), kind)
    method = LoRATuning(batch=2, steps=2, base_precision=kind, **HALF)
    peak, plan = measured(method, base, data), method.plan(base, data)
    assert plan.memory_bytes == pytest.approx(peak, rel=MARGIN)
    assert method.dry_plan(base, data).memory_bytes == pytest.approx(peak, rel=MARGIN)
    stored, held = LoRATuning(batch=2, steps=2, **HALF).plan(model(), data).weights_bytes, 0
    for layer in base.denoiser.modules():
        if isinstance(layer, PackedLinear):
            count = layer.in_features * layer.out_features
            held += -(-count // 64) * {"nf4": 32 + 2, "int8": 64 + 2}[kind]  # codes and scale of a block
            stored -= 4 * count
    assert plan.weights_bytes == stored + held + {"nf4": 2048, "int8": 0}[kind]  # a table of pairs of levels


def out_of_memory(monkeypatch, room, kind=DreamBooth):
    """The words of a step of four pictures that runs out of memory, of which there is so much.

    A plan counts 100 MB, less 30 by checkpointing, 50 by micro-batches, 20 by half precision and 40 by 4 bits.
    """

    def failing(self, *arguments):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")

    def planned(self, model, data):
        less = 30 * self.gradient_checkpointing + 50 * (self.micro_batch == 1) + 20 * (self.precision != "float32")
        less += 40 * (getattr(self, "base_precision", "stored") == "nf4")
        return SimpleNamespace(memory_bytes=(100 - less) * 10**6)

    monkeypatch.setattr(type(model()), "error", failing)
    monkeypatch.setattr(kind, "dry_plan", planned)
    monkeypatch.setattr("intaglio.adapt.fitting_settings.device_bytes", lambda device: room * 10**6 / 0.9)
    with pytest.raises(IntaglioError) as found:
        kind(batch=4)(model(), training_set(4))
    return str(found.value).removeprefix("Out of memory with 4 pictures at once; try ").partition(", or `finetune")[0]


def test_out_of_memory_names_what_fits(monkeypatch):
    alone = ["--gradient-checkpointing (about 70 MB)", "--micro-batch 1 (about 50 MB)"]
    assert out_of_memory(monkeypatch, 71) == ", or ".join(alone)
    assert out_of_memory(monkeypatch, 51) == alone[1]
    assert out_of_memory(monkeypatch, 21) == "--gradient-checkpointing --micro-batch 1 (about 20 MB)"
    assert out_of_memory(monkeypatch, 1) == (
        "--gradient-checkpointing --micro-batch 1 --precision bfloat16 (about 0 B)"
    )
    assert out_of_memory(monkeypatch, -1) == "--micro-batch 2, or --gradient-checkpointing"  # lighter, not enough


def test_a_base_of_fewer_bits_is_named_where_it_fits(monkeypatch):
    assert "--base-precision nf4 (about 60 MB)" in out_of_memory(monkeypatch, 61, LoRATuning)
    every = "--gradient-checkpointing --micro-batch 1 --precision bfloat16 --base-precision nf4 (about -40 MB)"
    assert out_of_memory(monkeypatch, -39, LoRATuning).startswith(every)


def test_the_memory_of_this_machine_is_known():
    assert 1 << 27 < device_bytes(torch.device("cpu")) < 1 << 50
