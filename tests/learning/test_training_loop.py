"""The loop of every training, on a weight whose course is known by hand."""

import math
import os
import signal

import pytest
import torch

from intaglio.errors import IntaglioError
from intaglio.learning.checkpoints import STATE, Checkpoints
from intaglio.learning.loop import StepLoss, backward, train
from intaglio.learning.settings import OptimizerSettings
from intaglio.learning.trainer import Trainer
from intaglio.runs.header import read_header
from intaglio.runs.run import Run

PLAIN = OptimizerSettings(steps=6, learning_rate=0.1, weight_decay=0.0, clip=None)


class Problem:
    """Half the squared distance of a weight [2] from a target that depends on the step."""

    def __init__(self, settings=PLAIN, run=None, **options):
        self.run, self.options = run or Run.none(), options
        self.weight = torch.tensor([3.0, -1.0])
        self.trainer = Trainer({"weight": self.weight}, settings)
        self.checkpoints = Checkpoints(self.run, every_s=1e9, every=options.pop("every", 0))
        self.checkpoints.restore(self.trainer)
        self.asked = []

    def objective(self, step):
        self.asked.append(step)
        return backward(0.5 * (self.weight - step).square().sum(), size=2)

    def solve(self, objective=None):
        train(self.trainer, objective or self.objective, self.run, self.checkpoints, **self.options)
        return self.weight.detach().clone()


def opened(folder):
    return Run.open(folder, "t", "x", {}, {}, seed=0, device="cpu", command=["x"], progress="none")


def poisoned(problem, steps, of="loss"):
    def objective(step):
        loss = problem.objective(step)
        if step not in steps:
            return loss
        if of == "gradient":
            problem.weight.grad[0] = math.inf
        return StepLoss(math.nan if of == "loss" else loss.value, {"part": math.inf} if of == "part" else {})

    return objective


def test_it_makes_the_updates_of_adamw_and_logs_each(tmp_path):
    with opened(tmp_path) as run:
        problem = Problem(run=run)
        found = problem.solve()
        rows = run.logged("train")
        timed = Problem(run=run, timed=True)
        timed.trainer.step = 5
        timed.solve()
        assert run.logged("train")[-1]["cpu_s"] >= 0
    weight, first, second = torch.tensor([3.0, -1.0]), torch.zeros(2), torch.zeros(2)
    for step in range(6):
        gradient = weight - step
        assert rows[step]["loss"] == pytest.approx(float(0.5 * gradient.square().sum()), rel=1e-5)
        assert rows[step]["gradient_norm"] == pytest.approx(float(gradient.norm()), rel=1e-5)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        change = (first / (1 - 0.9 ** (step + 1))) / ((second / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
        weight = weight - 0.1 * change
    torch.testing.assert_close(found, weight)
    assert problem.asked == list(range(6))
    assert [(row["step"], row["lr"], row["size"]) for row in rows] == [(step, 0.1, 2) for step in range(1, 7)]
    assert all(row.keys() == {"step", "loss", "lr", "gradient_norm", "size"} for row in rows)
    assert problem.trainer.losses.tolist() == [row["loss"] for row in rows]


@pytest.mark.parametrize("every", [1, 2, 4])
def test_a_killed_training_ends_with_the_same_bits(tmp_path, every):
    settings = OptimizerSettings(steps=9, learning_rate=0.1, warmup=3, ema=0.5)
    whole = Problem(settings)
    whole.solve()

    def dying(step):
        if step == 5:
            raise RuntimeError("the power went")
        return cut.objective(step)

    with opened(tmp_path) as run:
        cut = Problem(settings, run, every=every)
        with pytest.raises(RuntimeError, match="power"):
            cut.solve(dying)
    with opened(tmp_path) as run:
        again = Problem(settings, run)
        assert again.trainer.step == 5 // every * every
        again.solve()
        assert [row["step"] for row in run.logged("train")] == list(range(1, 10))
        assert run.load_state(STATE)[1]["step"] == 9
    assert torch.equal(again.weight, whole.weight)
    assert torch.equal(again.trainer.losses, whole.trainer.losses)
    assert torch.equal(again.trainer.snapshot()["weight"], whole.trainer.snapshot()["weight"])
    with opened(tmp_path) as run:
        finished = Problem(settings, run)
        assert torch.equal(finished.solve(), whole.weight)
        assert finished.asked == []


def test_tensors_that_the_objective_changes_itself_are_kept_with_the_weights(tmp_path):
    """The weight goes after a tensor that the objective moves in place; a killed training has that one again."""

    def solved(run, kill=None):
        weight, aim = torch.tensor([3.0]), torch.zeros(1, dtype=torch.int64)
        trainer = Trainer({"weight": weight}, PLAIN, kept={"aim": aim})
        checkpoints = Checkpoints(run, every_s=1e9, every=2)
        checkpoints.restore(trainer)

        def objective(step):
            if step == kill:
                raise RuntimeError("the power went")
            aim.add_(step)
            return backward(0.5 * (weight - aim).square().sum())

        train(trainer, objective, run, checkpoints)
        return weight.detach(), aim

    whole = solved(Run.none())
    assert whole[1].tolist() == [0 + 1 + 2 + 3 + 4 + 5]
    with opened(tmp_path) as run, pytest.raises(RuntimeError, match="power"):
        solved(run, kill=5)
    with opened(tmp_path) as run:
        again = solved(run)
    assert all(torch.equal(one, two) for one, two in zip(again, whole, strict=True))


@pytest.mark.parametrize("of", ["loss", "part", "gradient"])
def test_what_is_not_finite_ends_the_run_with_the_state_before_it(tmp_path, of):
    with opened(tmp_path) as run:
        problem = Problem(run=run, advice="try this, or that")
        with pytest.raises(
            IntaglioError, match=r"not finite at step 3: the state before it is saved; try this, or that\."
        ):
            problem.solve(poisoned(problem, {2}, of))
        assert problem.weight.isfinite().all()
        assert run.load_state(STATE)[1]["step"] == 2
        assert len(run.logged("train")) == 2


def test_one_step_may_be_left_out_and_halves_the_rate_from_there(tmp_path):
    with opened(tmp_path) as run:
        problem = Problem(run=run, may_skip=True)
        skipped = []
        problem.options["watchers"] = [lambda trainer, _: skipped.append(trainer.skipped)]
        problem.solve(poisoned(problem, {2}))
        rows = run.logged("train")
        (warning,) = read_header(run.folder)["warnings"]
        assert "not finite at step 3: it is left out" in warning
    assert [(row["step"], row["lr"]) for row in rows] == [(1, 0.1), (2, 0.1), (4, 0.05), (5, 0.05), (6, 0.05)]
    assert skipped == [False, False, True, False, False, False]
    assert problem.trainer.losses.isnan().tolist() == skipped
    second = Problem(may_skip=True)
    with pytest.raises(IntaglioError, match="not finite at step 5"):
        second.solve(poisoned(second, {2, 4}))


def test_watchers_are_called_in_their_order_before_the_state_is_saved(tmp_path):
    seen = []
    with opened(tmp_path) as run:
        problem = Problem(run=run, every=1)

        def first(trainer, loss):
            saved = run.load_state(STATE)
            seen.append(("first", trainer.step, loss.value, 0 if saved is None else saved[1]["step"]))

        problem.options["watchers"] = [first, lambda trainer, loss: seen.append(("second", trainer.step))]
        problem.solve()
    losses = problem.trainer.losses.tolist()
    assert seen[::2] == [("first", step, losses[step - 1], step - 1) for step in range(1, 7)]
    assert seen[1::2] == [("second", step) for step in range(1, 7)]


def test_it_may_be_stopped_before_its_last_step(tmp_path):
    problem = Problem()
    problem.options["stopped"] = lambda: problem.trainer.step == 2
    problem.solve()
    assert problem.asked == [0, 1]


def test_ctrl_c_waits_for_the_end_of_the_step_and_saves_it(tmp_path):
    whole = Problem().solve()
    before = signal.getsignal(signal.SIGINT)

    def interrupted(step):
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return problem.objective(step)

    with opened(tmp_path) as run:
        problem = Problem(run=run)
        with pytest.raises(KeyboardInterrupt):
            problem.solve(interrupted)
        assert problem.trainer.step == run.load_state(STATE)[1]["step"] == 4
    assert signal.getsignal(signal.SIGINT) is before
    with opened(tmp_path) as run:
        assert torch.equal(Problem(run=run).solve(), whole)


class Saving:
    """A run that notes the steps of saved states; a save takes a second."""

    def __init__(self, clock):
        self.clock, self.steps = clock, []

    def save_state(self, name, tensors, meta):
        self.steps.append(meta["step"])
        self.clock[0] += 1.0


def test_the_clock_saves_as_well_and_no_more_than_a_twentieth_of_the_time_goes_into_it(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("intaglio.learning.checkpoints.time.monotonic", lambda: clock[0])
    problem = Problem(OptimizerSettings(steps=60, learning_rate=0.1))
    saving = Saving(clock)
    monkeypatch.setattr(type(problem.run), "save_state", lambda _, *args: saving.save_state(*args))
    problem.checkpoints = Checkpoints(problem.run, every_s=5.0)

    def slow(step):
        clock[0] += 1.0
        return problem.objective(step)

    problem.solve(slow)
    assert saving.steps == [5, 25, 45, 60]


def test_the_logged_learning_rate_is_that_of_the_step_itself(tmp_path):
    warmed = OptimizerSettings(steps=6, learning_rate=0.1, warmup=4, weight_decay=0.0, clip=None)
    with opened(tmp_path) as run:
        Problem(warmed, run=run).solve()
        rows = run.logged("train")
    assert [row["lr"] for row in rows] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])
