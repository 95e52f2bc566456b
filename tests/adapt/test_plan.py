import dataclasses

import pytest
import torch

from adapt_scenes import model, training_set
from intaglio.adapt.cost import Plan
from intaglio.adapt.methods.dreambooth import DreamBooth
from intaglio.images.image_set import ImageSet


def test_a_plan_counts_what_will_be_done():
    base, data = model(), training_set(3, 2)
    data = dataclasses.replace(data, images=dataclasses.replace(data.images, repeats=(1, 2, 3)))
    plan = DreamBooth(steps=12, batch=4, ema=0.99).plan(base, data)
    numbers = sum(weight.numel() for weight in base.denoiser.parameters())
    everything = sum(weight.numel() for part in base.parts.values() for weight in part.parameters())
    assert (plan.pictures, plan.shown, plan.class_pictures, plan.micro_batch) == (3, 6, 2, 8)
    assert plan.epochs == 12 * 4 / 6
    assert plan.trainable == numbers
    buffers = sum(buffer.nbytes for part in base.parts.values() for buffer in part.buffers())
    assert plan.weights_bytes == 4 * (everything + numbers) + buffers  # the base, and the denoiser that is trained
    assert (plan.gradients_bytes, plan.moments_bytes, plan.mean_bytes) == (4 * numbers, 8 * numbers, 4 * numbers)
    assert plan.step_s > 0
    assert plan.seconds == pytest.approx(12 * plan.step_s)


def test_activations_are_what_a_step_holds():
    """Twice the pictures hold twice as much; smaller micro-batches, checkpointing and half precision hold less."""
    base, data = model(), training_set(4)
    plans = {batch: DreamBooth(batch=batch).plan(base, data) for batch in (1, 2, 4)}
    kept = {batch: plan.activations_bytes for batch, plan in plans.items()}
    assert kept[4] - kept[2] == pytest.approx(2 * (kept[2] - kept[1]), rel=0.05)
    # From the second micro-batch on all gradients are there while its activations grow.
    parts = DreamBooth(batch=4, micro_batch=1).plan(base, data)
    assert parts.activations_bytes == pytest.approx(kept[1] + parts.gradients_bytes, rel=0.02)
    assert DreamBooth(batch=4, gradient_checkpointing=True).plan(base, data).activations_bytes < 0.7 * kept[4]
    assert DreamBooth(batch=4, precision="bfloat16").plan(base, data).activations_bytes < 0.7 * kept[4]


def test_a_plan_reads_as_five_lines():
    plan = Plan(
        pictures=10,
        shown=30,
        class_pictures=200,
        steps=800,
        batch=2,
        micro_batch=4,
        trainable=859_520_964,
        weights_bytes=4_265_000_000,
        gradients_bytes=3_438_000_000,
        moments_bytes=6_876_000_000,
        mean_bytes=0,
        activations_bytes=912_000_000,
        step_s=0.525,
    )
    assert str(plan) == (
        "pictures   10, 30 an epoch with repeats and 200 class pictures\n"
        "steps      800 of batch 2 (4 in memory), 53.3 epochs\n"
        "trainable  859,520,964 numbers\n"
        "memory     about 15.5 GB: weights 4.26 GB, gradients 3.44 GB, moments 6.88 GB, activations 912 MB\n"
        "time       about 7 min for 800 steps of 0.53 s"
    )
    bayesian = dataclasses.replace(plan, random=198_371_200, random_bytes=4_760_000_000)
    assert "trainable  859,520,964 numbers, 198,371,200 of them random (23.1%)\n" in str(bayesian)
    assert "about 20.3 GB" in str(bayesian)
    assert "random weights 4.76 GB" in str(bayesian)
    assert "mean 2 kB" in str(dataclasses.replace(plan, mean_bytes=2000))


def test_many_pictures_are_planned_from_a_few():
    data = training_set(2)
    many = dataclasses.replace(data, images=ImageSet.from_pixels(torch.rand(50, 3, 16, 16)))
    assert DreamBooth(steps=5).plan(model(), many).pictures == 50
