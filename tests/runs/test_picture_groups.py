"""Groups of pictures over many steps: stored, resumed exactly, recorded."""

from dataclasses import dataclass, replace

import pytest
import torch

from audit_scenes import pictures
from intaglio.runs.picture_batches import content_order
from intaglio.runs.picture_groups import PictureResult, drop_groups, in_groups
from intaglio.runs.run import Run
from intaglio.runs.steps import StepState, in_steps, stored_steps

STEPS = 3


@dataclass(frozen=True, eq=False)
class Total(StepState):
    total: torch.Tensor


class Adding:
    """Adds up the mean of each picture's pixels, times the number of the step."""

    def __init__(self, dies_at=0, skips_from=STEPS):
        self.calls, self.groups, self.dies_at, self.skips_from = 0, [], dies_at, skips_from

    def prepare(self, images):
        self.groups.append(images.hashes)
        return images.pixels.mean((1, 2, 3))

    def start(self, group):
        return Total(0, torch.zeros(len(group)))

    def step(self, group, state):
        self.calls += 1
        if self.calls == self.dies_at:
            raise KeyboardInterrupt
        if state.step == self.skips_from:
            return replace(state, step=STEPS)
        return Total(state.step + 1, state.total + group * (state.step + 1))

    def shown(self, state):
        return {"total": float(state.total.sum())}

    def finish(self, group, state):
        shown = {"picture": torch.zeros(3, 2, 2)}
        return [PictureResult({"total": float(t)}, shown, {"nan": float("nan")}, "") for t in state.total]


def open_run(folder):
    return Run.open(folder, "authenticate", "adding", {}, {}, seed=0, device="cpu", command=["x"], progress="none")


def called(run, images, work, key="key"):
    found = in_groups(run, "adding", key, images, work, steps=STEPS, batch=2, label="adding up")
    return [result.signals["total"] for result in found]


def expected(images):
    return pytest.approx([6 * float(picture.mean()) for picture in images.pixels], rel=1e-6)


def test_results_are_in_the_order_of_the_pictures_and_groups_in_that_of_their_content():
    images, work = pictures(5), Adding()
    assert called(Run.none(), images, work) == expected(images)
    hashes = sorted(images.hashes)
    assert work.groups == [tuple(hashes[:2]), tuple(hashes[2:4]), tuple(hashes[4:])]
    assert [images.hashes[i] for i in content_order(images)] == hashes
    turned, again = images[[3, 1, 4, 0, 2]], Adding()
    assert called(Run.none(), turned, again) == expected(turned)
    assert again.groups == work.groups


@pytest.mark.parametrize("at", range(1, 10))
def test_a_killed_call_goes_on_without_a_step_done_twice(tmp_path, at):
    images, killed, rest = pictures(5), Adding(dies_at=at), Adding()
    with pytest.raises(KeyboardInterrupt), open_run(tmp_path) as run:
        called(run, images, killed)
    with open_run(tmp_path) as run:
        assert called(run, images, rest) == called(Run.none(), images, Adding())
        assert [row["step"] for row in run.logged("adding")] == [*range(1, 3 * STEPS + 1)]
        records = run.recorded("adding")
        assert records.keys() == set(images.names)
        assert all(set(record) == {"total", "nan", "failure"} and record["nan"] is None for record in records.values())
        drop_groups(run, "adding", 5, 2)
        assert not list((run.folder / "states").iterdir())
    assert killed.calls - 1 + rest.calls == 3 * STEPS


def test_states_of_another_key_or_of_other_pictures_are_not_taken_up(tmp_path):
    images, others = pictures(2), pictures(2, seed=1)
    with open_run(tmp_path) as run:
        called(run, images, Adding())
        for pictures_, key, calls in ((images, "key", 0), (images, "other", STEPS), (others, "other", STEPS)):
            work = Adding()
            assert called(run, pictures_, work, key) == expected(pictures_)
            assert work.calls == calls


def test_a_group_may_be_done_before_its_last_step(tmp_path):
    images, work = pictures(2), Adding(skips_from=1)
    with open_run(tmp_path) as run:
        assert called(run, images, work) == pytest.approx([float(picture.mean()) for picture in images.pixels])
        assert [row["step"] for row in run.logged("adding")] == [1, 3]
        assert stored_steps(run, "adding-0", {"key": "key"}) == 3
    assert work.calls == 2


def test_a_state_without_its_number_of_steps_is_begun_anew(tmp_path):
    with open_run(tmp_path) as run:
        run.save_state("sum", {"total": torch.ones(1)}, {"key": "key", "done": 2})
        seen = []
        found = in_steps(
            run,
            "sum",
            {"key": "key"},
            Total(0, torch.zeros(1)),
            lambda state: Total(state.step + 1, state.total + 1),
            steps=3,
            noted=lambda before, after: seen.append((before.step, after.step)),
        )
    assert found.total.item() == 3
    assert seen == [(0, 1), (1, 2), (2, 3)]
