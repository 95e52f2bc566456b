"""The work of whole jobs, against sums made by hand."""

from dataclasses import replace
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_networks import STEP, head
from intaglio.energy.devices.simulated import SimulatedDevice
from intaglio.energy.jobs import SampleJob, TrainJob
from intaglio.energy.layers.layer import LayerFamily, SizedLayer, Step, step_of
from intaglio.energy.methods.thor import Thor
from intaglio.energy.profile.active import ActiveRules, profile_family
from intaglio.energy.profile.energy_profile import EnergyProfile
from intaglio.energy.profile.isolation import DepthSlope

PASS, UPDATE, EVALUATION, SAVE = (Step({head(width): 1}) for width in (8, 16, 32, 64))


def of_width(width):
    """The work at a batch, told apart by the layer's width: `width` for the part, calls counted on its batch."""
    return lambda batch: Step({SizedLayer(head(8).family, (width, batch)): 1})


def calls(work):
    """Calls of each layer by its sizes."""
    return {layer.sizes: count for layer, count in work.whole.layers.items()}


def test_a_training_by_hand():
    """1000 pictures, 3 epochs, 4 at once, 2 added up: 3000 / 8 = 375 updates, of two passes each."""
    job = TrainJob(samples=1000, epochs=3.0, micro_batch=4, accumulation=2, evaluations=5, checkpoints=7)
    assert job.total_updates == 375
    work = job.work(PASS, UPDATE, EVALUATION, SAVE)
    assert work.whole.layers == {head(8): 750, head(16): 375, head(32): 5, head(64): 7}
    assert work.calls == {"passes": 750, "updates": 375, "evaluations": 5, "checkpoints": 7}
    assert work.parts["updates"].layers == {head(16): 375}


def test_devices_share_the_samples_and_each_makes_every_update():
    """1000 / (4 · 2 · 3) = 41.7: 42 updates, on three devices."""
    work = TrainJob(samples=1000, epochs=1.0, micro_batch=4, accumulation=2, devices=3).work(PASS, UPDATE)
    assert work.whole.layers == {head(8): 252, head(16): 126}
    assert set(work.parts) == {"passes", "updates"}


def test_updates_may_be_stated():
    assert TrainJob(updates=800, micro_batch=1).work(PASS, UPDATE).whole.layers == {head(8): 800, head(16): 800}


@given(st.integers(1, 5000), st.integers(1, 40), st.integers(1, 16), st.integers(1, 8), st.integers(1, 4))
def test_updates_are_rounded_up(samples, epochs, micro, accumulation, devices):
    job = TrainJob(samples=samples, epochs=float(epochs), micro_batch=micro, accumulation=accumulation, devices=devices)
    assert job.total_updates == ceil(samples * epochs / (micro * accumulation * devices))


def test_parts_of_an_epoch_and_rounding():
    assert TrainJob(samples=10, epochs=0.25, micro_batch=1).total_updates == 3
    assert TrainJob(samples=30, epochs=0.1, micro_batch=1).total_updates == 3
    assert TrainJob(samples=100, epochs=1.1, micro_batch=1).total_updates == 110


def test_accumulation_costs_updates_only_once():
    """The same pictures in passes of one, by fours: as many passes, a quarter of the updates."""
    plain = TrainJob(samples=64, epochs=1.0, micro_batch=1).work(PASS, UPDATE).calls
    added = TrainJob(samples=64, epochs=1.0, micro_batch=1, accumulation=4).work(PASS, UPDATE).calls
    assert (plain, added) == ({"passes": 64, "updates": 64}, {"passes": 64, "updates": 16})


def test_a_drawing_by_hand():
    """10 pictures by fours: two batches of 4 and one of 2. Guidance doubles denoiser and prompts."""
    job = SampleJob(pictures=10, steps=20, batch=4)
    work = job.work(of_width(1), of_width(2), of_width(3), of_width(4), of_width(5))
    assert calls(work) == {(1, 8): 40, (1, 4): 20, (2, 4): 2, (2, 2): 1, (3, 8): 2, (3, 4): 1, (5, 4): 40, (5, 2): 20}
    assert work.calls == {"denoiser": 60, "decoder": 3, "prompts": 3, "scheduler": 60}


def test_a_part_that_is_called_once_a_batch_is_of_the_smaller_last_one_too():
    job = SampleJob(pictures=10, steps=3, batch=4)
    work = job.once_a_batch("judge", lambda size: Step({SizedLayer(head(8).family, (8, size)): 1}))
    found = {layer.sizes: calls for layer, calls in work.parts["judge"].layers.items()}
    assert found == {(8, 4): 2, (8, 2): 1}
    assert work.calls == {"judge": 3}


def test_second_order_samplers_and_separate_guidance_call_more_often():
    heun = SampleJob(pictures=2, steps=10, calls=19, batch=2, guidance="none").work(of_width(1), of_width(2))
    assert calls(heun) == {(1, 2): 19, (2, 2): 1}
    apart = SampleJob(pictures=2, steps=10, calls=19, batch=2, guidance="separate")
    assert calls(apart.work(of_width(1), of_width(2), of_width(3))) == {(1, 2): 38, (2, 2): 1, (3, 4): 1}


def test_pictures_from_pictures_are_encoded():
    job = SampleJob(pictures=1, steps=5, guidance="none", encode=True, decode=False)
    assert calls(job.work(of_width(1), of_width(2), encoder=of_width(4))) == {(1, 1): 5, (4, 1): 1}


def test_unparsed_work_and_notes_are_counted_along():
    odd = Step({head(8): 1}, {"sort": 10.0}, ("odd",))
    work = TrainJob(updates=3, micro_batch=1, accumulation=2).work(odd, step_of([SizedLayer(STEP)])).whole
    assert (dict(work.unparsed), work.notes) == ({"sort": 60.0}, ("odd",))


def test_a_job_of_low_rank_adapters_is_estimated_below_the_full_one():
    """Adapters save the weight gradients of the layers they lie beside, and add two thin products of their own."""
    device = SimulatedDevice()
    full = LayerFamily("linear", fixed=(("positions", 2**15),), train=True, input_grad=True, weight_grad=True)
    frozen = replace(full, weight_grad=False)
    families = tuple(
        profile_family(device, DepthSlope(), family, (8, 8), (512, 512), ActiveRules(points=9, edges=0))
        for family in (full, frozen)
    )
    predict = Thor()(EnergyProfile("J", "modelled", families, meter={"relative_sd": 0.0}))
    job = TrainJob(updates=500, micro_batch=1, accumulation=2)
    plain = job.work(step_of([SizedLayer(full, (512, 512))] * 4), Step({}))
    thin = [SizedLayer(frozen, (512, 512)), SizedLayer(full, (512, 8)), SizedLayer(full, (8, 512))] * 4
    adapted = job.work(step_of(thin), Step({}))
    assert adapted.whole.layers == dict.fromkeys(thin, 4000)
    one, other = predict(plain.whole), predict(adapted.whole)
    assert other.amount < 0.9 * one.amount
    for found, layers in ((one, [SizedLayer(full, (512, 512))]), (other, thin[:3])):
        assert found.amount == pytest.approx(4000 * sum(device.cost(layer)[0] for layer in layers), rel=0.05)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"micro_batch": 0, "updates": 1}, "micro_batch must be a whole number from 1"),
        ({"micro_batch": 1}, "as samples and epochs say, or as updates say"),
        ({"micro_batch": 1, "samples": 8}, "as samples and epochs say"),
        ({"micro_batch": 1, "samples": 8, "epochs": 1.0, "updates": 8}, "as samples and epochs say"),
        ({"micro_batch": 1, "samples": 8, "epochs": 0.0}, "epochs must be above 0"),
        ({"micro_batch": 1, "samples": 8, "epochs": float("nan")}, "epochs must be above 0"),
        ({"micro_batch": 1, "updates": 0}, "updates must be a whole number from 1"),
        ({"micro_batch": 1, "updates": 1, "devices": -1}, "devices must be a whole number from 1"),
        ({"micro_batch": 1, "updates": 1, "checkpoints": -1}, "checkpoints must be a whole number from 0"),
    ],
)
def test_trainings_that_cannot_be_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        TrainJob(**settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pictures": 0, "steps": 1}, "pictures must be a whole number from 1"),
        ({"pictures": 1, "steps": 0}, "steps must be a whole number from 1"),
        ({"pictures": 1, "steps": 1, "calls": 0}, "calls must be a whole number from 1"),
    ],
)
def test_drawings_that_cannot_be_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        SampleJob(**settings)


def test_work_that_is_counted_must_be_given():
    with pytest.raises(ValueError, match="2 evaluations are counted"):
        TrainJob(updates=1, micro_batch=1, evaluations=2).work(PASS, UPDATE)
    with pytest.raises(ValueError, match="3 checkpoints are counted"):
        TrainJob(updates=1, micro_batch=1, checkpoints=3).work(PASS, UPDATE)
    with pytest.raises(ValueError, match="decode wants the work of a decoder"):
        SampleJob(pictures=1, steps=1).work(of_width(1))
    with pytest.raises(ValueError, match="encode wants the work of an encoder"):
        SampleJob(pictures=1, steps=1, encode=True).work(of_width(1), of_width(2))
