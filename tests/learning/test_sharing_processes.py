"""Steps shared by two processes (gloo): the same update as one process with the whole batch."""

import os
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import distributed

from adapt_scenes import learned, model, training_set
from intaglio.adapt.methods.dreambooth import DreamBooth
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.adapt.settings import UNWATCHED
from intaglio.errors import BadInput, IntaglioError
from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import StepLoss, train
from intaglio.learning.settings import OptimizerSettings
from intaglio.learning.sharing_processes import ALONE, Processes, _buckets
from intaglio.learning.trainer import Trainer
from intaglio.runs import rows
from intaglio.runs.run import Run
from two_processes import both

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are forked")


def joined(tmp_path: Path, work) -> list[dict[str, torch.Tensor]]:
    """What `work(processes)` gives in each of two processes that have found each other."""

    def found(rank: int) -> dict[str, torch.Tensor]:
        distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=rank, world_size=2)
        try:
            return work(Processes(rank, 2))
        finally:
            distributed.destroy_process_group()

    return both(tmp_path, found)


def opened(folder: Path, processes: Processes) -> Run:
    """The run of the main process; others have none."""
    about = {"seed": 0, "device": "cpu", "command": ["x"], "progress": "none"}
    return Run.open(folder, "finetune", "x", {}, {}, **about) if processes.main else Run.none()


def tuned(processes: Processes, method, data, folder=None) -> dict[str, torch.Tensor]:
    with Run.none() if folder is None else opened(folder, processes) as run:
        found = method(model(), data, run=run, watch=UNWATCHED, processes=processes)
    return {**learned(found), "losses": found.losses}


SETTINGS = {"steps": 4, "learning_rate": 1e-3, "batch": 3}
"""Four updates of a rate of 1e-3, so that weights move by about 4e-3."""
WAYS = {
    "lora": (LoRATuning(**SETTINGS), training_set()),
    "prior and micro-batches": (LoRATuning(**SETTINGS, micro_batch=4), training_set(classes=2)),
    "random weights": (DreamBooth(**SETTINGS, bayesian=True, kl_weight=1e-3, micro_batch=2), training_set()),
}


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_make_the_updates_of_one(tmp_path, way):
    method, data = WAYS[way]
    alone = tuned(ALONE, method, data)
    first, second = joined(tmp_path, partial(tuned, method=method, data=data))
    for name in alone:
        assert torch.equal(first[name], second[name]), name  # to the bit: else they would drift apart
    torch.testing.assert_close(first["losses"], alone["losses"], rtol=1e-6, atol=0)
    apart = torch.cat([(first[name] - weight).abs().flatten() for name, weight in alone.items()])
    # AdamW divides a gradient by its own size: the few that are hardly more than rounding may take another course.
    assert float((apart > 2e-6).double().mean()) < (1e-3 if method.bayesian else 1e-9)
    assert float(apart.max()) < 0.2 * method.learning_rate


class StopsAt:
    """A stop rule that kills the training before one of its steps."""

    def __init__(self, step: int):
        self.step, self.made = step, 0

    def stops(self) -> bool:
        if self.made == self.step:
            raise KeyboardInterrupt
        return False

    def after_step(self, step: int) -> None:
        self.made = step


def test_a_killed_training_goes_on_with_another_number_of_processes(tmp_path):
    method, data = WAYS["lora"]
    whole, often = tuned(ALONE, method, data), replace(UNWATCHED, checkpoint_every=1)
    with pytest.raises(KeyboardInterrupt), opened(tmp_path / "run", ALONE) as run:
        method(model(), data, run=run, watch=often, stop=StopsAt(2))
    first, second = joined(tmp_path, partial(tuned, method=method, data=data, folder=tmp_path / "run"))
    (folder,) = (tmp_path / "run").iterdir()
    assert [row["step"] for row in rows.read(folder / "metrics" / "train.jsonl")] == [1, 2, 3, 4]
    for name, weight in whole.items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], weight, rtol=1e-5, atol=2e-6)


class Problem:
    """Half the squared distance of a weight [4] from the step, of which each process has two entries."""

    def __init__(self, processes: Processes, **options):
        self.processes, self.options = processes, options
        self.weight = torch.arange(4.0)
        self.trainer = Trainer({"weight": self.weight}, OptimizerSettings(steps=6, learning_rate=0.1))

    def objective(self, step: int) -> StepLoss:
        rows = self.processes.rows(0, 4)
        own = 0.5 * (self.weight[rows] - step).square().sum()
        own.backward()
        self.processes.add_gradients([self.weight])
        return StepLoss(float(self.processes.summed(own)))

    def train(self, objective=None) -> dict[str, torch.Tensor]:
        run, sentence = Run.none(), ""
        try:
            checkpoints = Checkpoints(run, every_s=1e9)
            train(self.trainer, objective or self.objective, run, checkpoints, processes=self.processes, **self.options)
        except (IntaglioError, KeyboardInterrupt) as error:
            sentence = type(error).__name__
        return {
            "step": torch.tensor(self.trainer.step),
            "weight": self.weight.detach(),
            sentence or "ended": torch.tensor(0),
        }


def poisoned(processes: Processes, may_skip: bool) -> dict[str, torch.Tensor]:
    """The second process alone has a gradient that is not finite, in step 2."""
    problem = Problem(processes, may_skip=may_skip)

    def objective(step: int) -> StepLoss:
        if step == 2 and not processes.main:
            problem.weight.grad = torch.full((4,), torch.inf)
        return problem.objective(step)

    return problem.train(objective)


@pytest.mark.parametrize(("may_skip", "steps", "end"), [(False, 2, "IntaglioError"), (True, 6, "ended")])
def test_what_is_not_finite_in_one_stops_or_skips_in_all(tmp_path, may_skip, steps, end):
    for found in joined(tmp_path, partial(poisoned, may_skip=may_skip)):
        assert (int(found["step"]), end in found) == (steps, True)
        assert found["weight"].isfinite().all()


def ended(processes: Processes, way: str) -> dict[str, torch.Tensor]:
    """One process alone is to stop, or is given Ctrl-C, after step 3."""

    def objective(step: int) -> StepLoss:
        if way == "interrupted" and step == 3 and not processes.main:
            os.kill(os.getpid(), signal.SIGINT)
        return problem.objective(step)

    options = {"stopped": lambda: processes.main and problem.trainer.step == 4} if way == "stopped" else {}
    problem = Problem(processes, **options)
    return problem.train(objective)


@pytest.mark.parametrize(("way", "end"), [("stopped", "ended"), ("interrupted", "KeyboardInterrupt")])
def test_one_process_that_ends_ends_all_at_the_same_step(tmp_path, way, end):
    for found in joined(tmp_path, partial(ended, way=way)):
        assert (int(found["step"]), end in found) == (4, True)


def test_a_gradient_of_one_process_is_given_to_all_and_of_none_to_none(tmp_path):
    def work(processes: Processes) -> dict[str, torch.Tensor]:
        used, unused = torch.zeros(2), torch.zeros(3)
        used.grad = None if processes.main else torch.tensor([1.0, 2.0])
        processes.add_gradients([used, unused])
        return {"used": used.grad, "has": torch.tensor(unused.grad is not None)}

    for found in joined(tmp_path, work):
        assert found["used"].tolist() == [1.0, 2.0]
        assert not found["has"]


def test_every_row_is_taken_once():
    for count in (1, 2, 3, 5):
        taken = [row for rank in range(count) for row in range(10)[Processes(rank, count).rows(3, 8)]]
        assert sorted(taken) == [3, 4, 5, 6, 7]


def test_buckets_keep_order_type_and_size(monkeypatch):
    monkeypatch.setattr("intaglio.learning.sharing_processes.BUCKET", 5)
    tensors = [torch.zeros(2), torch.zeros(3), torch.zeros(1), torch.zeros(1, dtype=torch.bfloat16), torch.zeros(9)]
    assert [[len(one) for one in bucket] for bucket in _buckets(tensors)] == [[2, 3], [1], [1], [9]]


def test_a_step_too_small_to_share_is_refused():
    with pytest.raises(BadInput, match="a step of 1 pictures cannot be shared by 2 processes; give a larger --batch"):
        LoRATuning()(model(), training_set(), processes=Processes(0, 2))
