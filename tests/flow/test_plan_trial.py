"""Times by turns, the sure gain of a plan, and its trial at use: a busy machine changes no answer for long."""

import itertools

import pytest
import torch

from flow_scenes import Sequential, latents, unit
from intaglio.flow.block.guidance import UNGUIDED
from intaglio.flow.calibrate import block_timings, calibration, paired
from intaglio.flow.calibrate.block_timings import SampledBlock
from intaglio.flow.calibrate.calibration import calibrate
from intaglio.flow.calibrate.paired import gains, median_gain, paired_seconds, sure_gain
from intaglio.flow.decoding import Decoding
from intaglio.flow.plan.decoder_plan import Choice, DecoderPlan, key_of
from intaglio.flow.plan.guess import LocalGuess
from intaglio.flow.plan.planned_decoder import PlannedDecoder
from intaglio.flow.plan.trial import Trial, trial_is_due
from intaglio.runs.run import Run

PLAN = DecoderPlan({}, (Choice("jacobi", cap=4),), seconds=1.0, sequential_seconds=2.0)


def test_times_by_turns_alternate_who_goes_first(monkeypatch):
    order, clock = [], itertools.count()
    monkeypatch.setattr(paired.time, "perf_counter", lambda: float(next(clock)) ** 2)
    pairs = paired_seconds(lambda: order.append("a"), lambda: order.append("b"), 3, torch.device("cpu"))
    assert order == ["a", "b", "b", "a", "a", "b"]
    # readings 0, 1, 4, 9, ...: the calls take 1, 5, 9, 13, 17, 21
    assert pairs == [(1.0, 5.0), (13.0, 9.0), (17.0, 21.0)]
    assert gains([(2.0, 3.0), (4.0, 2.0)]) == [1.5, 0.5]
    assert median_gain([3.0, 1.0, 2.0]) == 2.0


def test_the_sure_gain_of_nine_turns_is_the_second_smallest():
    # P(at most one of nine lies below the median) = (1 + 9) / 2^9 = 0.0195; at most two: 0.0898, above 0.05
    ratios = [1.9, 1.1, 1.4, 1.2, 1.3, 1.8, 1.6, 1.7, 1.5]
    assert sure_gain(ratios) == 1.2
    assert sure_gain([2.0]) == 0.0


def test_a_plan_is_taken_only_where_its_gain_is_sure(monkeypatch):
    model = unit(double=False)
    for name, value in {"FITTED": 4, "JUDGED": 2, "PROVED": 2}.items():
        monkeypatch.setattr(calibration, name, value)
    sweeps = Choice("jacobi", 1e-9, cap=11, seconds=0.1)
    monkeypatch.setattr(calibration, "options", lambda block, allowed: [Choice("sequential", seconds=1.0), sweeps])
    for ratios, taken in (([1.5] * 7 + [0.9] * 2, False), ([1.5] * 8 + [0.9], True), ([1.02] * 9, False)):
        monkeypatch.setattr(calibration, "paired_seconds", lambda *_, r=ratios: [(1.0, ratio) for ratio in r])
        plan = calibrate(model, batch=1)
        assert plan.is_sequential is not taken
        assert plan.gains == (tuple(ratios) if taken else ())
        assert plan.is_measured


def test_every_choice_of_a_block_is_timed_beside_sequential_decoding(monkeypatch):
    # the machine becomes slower with every call; times by turns keep the ratio that holds at each instant
    readings, calls, costs = [0.0], itertools.count(), {"sequential": 3.0, "jacobi": 2.0}

    def decoded(choice, guess, inverse, v, *_):
        readings.append(readings[-1] + costs[choice.method] * 1.2 ** next(calls))
        return v.clone()

    monkeypatch.setattr(block_timings, "_now", lambda _: readings[-1])
    monkeypatch.setattr(block_timings, "decode_by_choice", decoded)
    model = unit(double=False)
    z = latents(model, 4)
    block = SampledBlock(Decoding(model, z).inverses()[0], z, z, 1, LocalGuess.fit(z, z, model.config.grid), 1.0)
    sequential = block_timings._measured(block, Choice("sequential"))
    jacobi = block_timings._measured(block, Choice("jacobi"), sequential)
    assert jacobi.seconds / sequential.seconds == pytest.approx(2 / 3, rel=0.05)


def test_a_trial_is_due_where_the_first_batch_takes_another_time_than_was_measured():
    assert not trial_is_due(PLAN, 1.2, 10)
    assert not trial_is_due(PLAN, 0.8, 10)
    assert trial_is_due(PLAN, 1.4, 10)
    assert trial_is_due(PLAN, 0.7, 10)
    assert not trial_is_due(PLAN, 1.4, 2)
    assert not trial_is_due(DecoderPlan({}, (Choice("frontier"),)), 1.4, 10)  # a rule of thumb has no times
    assert not trial_is_due(DecoderPlan({}, (Choice("sequential"),), seconds=1.0), 1.4, 10)


@pytest.mark.parametrize(
    ("times", "passed"),
    [
        ([3.0], None),  # one batch by the plan
        ([3.0, 3.5], True),  # faster in spite of its warm-up
        ([3.0, 2.0], None),  # slower, but the first batch counts only in its favour
        ([3.0, 2.0, 1.5], True),
        ([3.0, 2.0, 2.5], False),
        ([3.0, 2.0, 2.1], None),  # too close for one pair
        ([3.0, 2.0, 2.1, 2.0, 2.1], None),
        ([3.0, 2.0, 2.1, 2.0, 2.1, 2.0, 2.1], False),
        ([3.0, 2.0, 2.1, 2.4, 2.1], True),
    ],
)
def test_a_trial_ends_as_soon_as_one_side_is_faster(times, passed):
    trial = Trial()
    for seconds in times:
        trial = trial.with_batch(seconds)
    assert trial.passed is passed
    assert trial.next_is_planned is (len(times) % 2 == 0)


@pytest.fixture
def planned():
    model = unit(double=False)
    choices = (Choice("jacobi", 1e-9, cap=11),) * model.config.num_blocks
    plan = DecoderPlan(key_of(model, 1, UNGUIDED, "near"), choices, seconds=1.0, sequential_seconds=2.0)
    said = []
    return model, PlannedDecoder(plan=plan, batch=1, checked=True, warn=said.append), said


def timed(monkeypatch, seconds):
    """Lets each block's clock say the seconds of its method."""
    original = PlannedDecoder.following

    def following(self, blocks, left):
        for block in blocks:
            block.seconds = seconds[block.method] / len(blocks)
        return original(self, blocks, left)

    monkeypatch.setattr(PlannedDecoder, "following", following)


def test_a_plan_that_loses_is_given_up_and_the_person_is_told(planned, monkeypatch):
    model, decoder, said = planned
    timed(monkeypatch, {"jacobi": 3.0, "sequential": 2.0})
    z = latents(model, 6)
    methods = []
    with pytest.MonkeyPatch.context() as patch:
        original = PlannedDecoder.decode_block

        def noted(self, inverse, v, report, watch):
            u = original(self, inverse, v, report, watch)
            methods.append(report.method)
            return u

        patch.setattr(PlannedDecoder, "decode_block", noted)
        found = decoder(model, z, denoise=False)
    blocks = model.config.num_blocks
    assert methods[::blocks] == ["jacobi", "sequential", "jacobi", "sequential", "sequential", "sequential"]
    (sentence,) = said
    assert "2.00 times as fast as patch by patch and is 0.67 times as fast now" in sentence
    torch.testing.assert_close(found.patches, Sequential()(model, z, denoise=False).patches, atol=1e-4, rtol=0)


@pytest.mark.parametrize("seconds", [{"jacobi": 1.0, "sequential": 2.0}, {"jacobi": 3.0, "sequential": 4.0}])
def test_a_plan_that_holds_goes_on(planned, monkeypatch, seconds):
    model, decoder, said = planned
    timed(monkeypatch, seconds)
    decoder(model, latents(model, 6), denoise=False)
    assert not said


def test_a_killed_decoding_goes_on_with_the_same_trial(planned, monkeypatch, tmp_path):
    model, decoder, said = planned
    z = latents(model, 7)
    timed(monkeypatch, {"jacobi": 3.0, "sequential": 2.0})

    def run():
        return Run.open(tmp_path, "flow sample", "auto", {}, {}, seed=0, device="cpu", command=(), progress="none")

    def methods(folder):
        with folder as opened:
            return [opened.load_state(f"batch-{start}")[1]["blocks"][0]["method"] for start in range(7)]

    stopped = []
    original = Run.save_state

    def killed(self, name, tensors, about):
        original(self, name, tensors, about)
        stopped.append(name)
        if len(stopped) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, run() as first:
        patch.setattr(Run, "save_state", killed)
        with pytest.raises(KeyboardInterrupt):
            decoder(model, z, denoise=False, run=first)
    with run() as second:
        decoder(model, z, denoise=False, run=second)
    assert methods(run()) == ["jacobi", "sequential", "jacobi", "sequential", "sequential", "sequential", "sequential"]
    assert len(said) == 1
