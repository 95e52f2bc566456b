"""The plan of a protection: counts by arithmetic, seconds added up, memory that grows with what is held."""

import re
from dataclasses import replace

import pytest
import torch

from intaglio.adapt.cost import Plan
from intaglio.adapt.family import FineTuner
from intaglio.errors import BadInput, IntaglioError
from intaglio.protect import cost, protection
from intaglio.protect.cost import ProtectionPlan, _views, advice
from intaglio.protect.methods.advdm import AdvDM
from intaglio.protect.methods.anti_dreambooth import AntiDreamBooth
from intaglio.protect.model_views import tiles
from intaglio.protect.protection import group_size, planned
from protect_scenes import model, originals

PLAN = ProtectionPlan(
    pictures=3, sizes=2, steps=10, views=2.5, view_s=0.2, learning_s=8.0,
    weights_bytes=4_000_000, activations_bytes=2_000_000, pictures_bytes=500_000,
)  # fmt: skip


def test_sums():
    assert PLAN.memory_bytes == 6_500_000
    assert PLAN.seconds == pytest.approx(8 + 3 * 14 * 2.5 * 0.2)
    assert "memory     about 6.5 MB: weights 4 MB, activations 2 MB, pictures 500 kB" in str(PLAN)
    assert "time       about 29 s (0.2 s a view), 8 s of it for the surrogate to learn" in str(PLAN)
    assert "learn" not in str(replace(PLAN, learning_s=0.0))


@pytest.mark.parametrize("shape", [(16, 16), (21, 40), (100, 33)])
def test_tiles_are_counted_as_they_come_on_average(shape):
    source = torch.Generator().manual_seed(0)
    drawn = [len(tiles(torch.rand(3, *shape), 16, source)) for _ in range(300)]
    assert _views(AdvDM(view="tiles"), shape, 16) == pytest.approx(sum(drawn) / len(drawn), rel=0.1)
    assert _views(AdvDM(view="whole"), shape, 16) == 1
    both = _views(AdvDM(transformations=("blur",), draws=3), shape, 16)
    assert both == pytest.approx(3 * (_views(AdvDM(view="tiles"), shape, 16) + 1) / 2)


def test_a_plan_is_of_these_pictures_and_grows_with_what_is_held(tmp_path):
    net, pictures = model(), originals(tmp_path)
    one = planned(AdvDM(samples=1, micro_batch=2), net, pictures)
    assert (one.pictures, one.sizes, one.steps, one.learning_s) == (3, 2, 50, 0.0)
    assert one.view_s > 0
    # the largest group is one picture of 21x40, float32, or two of 16x16
    assert one.pictures_bytes == cost.COPIES * 4 * 3 * 21 * 40
    assert one.weights_bytes == sum(4 * w.numel() for part in net.parts.values() for w in part.parameters())
    more = planned(AdvDM(samples=2, micro_batch=2), net, pictures)
    most = planned(AdvDM(samples=2, micro_batch=4), net, pictures)
    assert 0 < one.activations_bytes <= more.activations_bytes < most.activations_bytes


def test_lessons_of_a_surrogate_take_their_time(tmp_path, monkeypatch):
    net, pictures = model(), originals(tmp_path)
    a_plan = Plan(*(1 for _ in range(12)), step_s=5.0)
    few = AntiDreamBooth(rounds=2, lesson_steps=2, samples=1)
    monkeypatch.setattr(FineTuner, "plan", lambda self, *_: replace(a_plan, steps=self.steps))
    assert planned(few, net, pictures, prompt="cat").learning_s == 5 * 2 * 3  # two lessons, and one on changed pictures
    assert planned(replace(few, mode="fsmg"), net, pictures, prompt="cat").learning_s == 5 * 2
    with pytest.raises(BadInput, match="needs the prompt"):
        planned(few, net, pictures)


def test_large_pictures_are_worked_on_one_by_one(monkeypatch):
    monkeypatch.setattr(protection, "MOST_PIXELS", 1000)
    for side, count in ((8, 4), (16, 3), (40, 1)):
        pictures = type("Pictures", (), {"pixels": torch.zeros(1, 3, side, side)})
        assert getattr(group_size, "__wrapped__", group_size)(AdvDM(batch=4), pictures) == count


def test_where_memory_runs_out_what_to_lower_is_named():
    method = AdvDM(micro_batch=6, batch=1)
    remedies = re.escape("try --micro-batch 3, or --checkpointing, or a machine")
    with pytest.raises(IntaglioError, match=remedies), advice(method):
        raise MemoryError
    with pytest.raises(RuntimeError, match="other"), advice(method):
        raise RuntimeError("other")
