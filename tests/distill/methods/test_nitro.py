from collections import Counter

import pytest
import torch
from torch.nn.functional import softplus

import tiny
from distill_scenes import planted
from intaglio.distill.head_pool import HeadPool, block_channels, judged_blocks
from intaglio.distill.methods import nitro
from intaglio.distill.methods.nitro import NitroFusion
from intaglio.errors import BadInput
from intaglio.learning.settings import OptimizerSettings
from intaglio.learning.trainer import Trainer
from intaglio.models.diffusion.baked_sampling import BakedSampling
from intaglio.models.diffusion.loading import load_model

SMALL = {"steps": 3, "batch": 3, "heads": 8, "judging": 3, "refresh": 0.3}
BAD = {"judging": 65}
PIECES = {"micro_batch": 1, "gradient_checkpointing": True}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("tiny") / "sd"))


def game(teacher, **settings):
    method = NitroFusion(**{**SMALL, "batch": 6, "heads": 16, "judging": 16, **settings})
    student = teacher.made_for(BakedSampling((999,), "ddim", "baked", (1.0, 1.0)), teacher.copy().denoiser, "student")
    pool = HeadPool(method.heads, block_channels(teacher), 16, 0)
    heads = Trainer(dict(pool.named_parameters()), OptimizerSettings(steps=50, learning_rate=1e-3))
    trainer = nitro.TwoPlayers(dict(student.denoiser.named_parameters()), method, {"heads": heads})
    return nitro._Game(method, teacher, student, pool, planted(), trainer, 999)


def test_heads_take_turns_in_range_block_prompt_and_places():
    pool = HeadPool(64, [16, 16], 16, 0)
    kinds = Counter(
        (pool.range(k), pool.block(k), head.prompt is not None, head.places) for k, head in enumerate(pool.heads)
    )
    assert len(kinds) == 4 * 2 * 2 * 2
    assert set(kinds.values()) == {2}


def test_a_head_is_a_function_of_seed_number_and_age():
    pool = HeadPool(8, [16, 16], 16, 3)
    weight = pool.heads[5].first.weight
    assert torch.equal(HeadPool(8, [16, 16], 16, 3).heads[5].first.weight, weight)
    for other in (HeadPool(8, [16, 16], 16, 4).heads[5], pool.heads[4], pool.fresh(5, 9)):
        assert not torch.equal(other.first.weight, weight)
    assert torch.equal(pool.fresh(5, 9).second.weight, pool.fresh(5, 9).second.weight)


def test_with_all_heads_and_none_anew_it_is_a_plain_adversarial_loss_written_out(teacher):
    """Each head over the rows in its range of noise, then the mean over heads that have any."""
    played = game(teacher, refresh=0.0)
    drawn = played.drawn(0)
    with teacher.frozen():
        found = played.heads_loss(drawn).value
    given = teacher.embed(drawn.batch.captions)
    blocks = []
    with torch.no_grad():
        fake = played.latents(drawn.noise, given)
        for clean in (drawn.batch.latents, fake):
            with nitro.outputs_of(judged_blocks(teacher)) as outputs:
                teacher.predict(teacher.noised(clean, drawn.added, drawn.t), drawn.t, given)
            blocks.append(outputs)
        of_heads = []
        for number, head in enumerate(played.pool.heads):
            rows = [k for k in range(6) if int(drawn.t[k]) * 4 // 1000 == number % 4]
            if rows:
                real, wrong = (head(side[number // 4 % 2][rows], given.hidden[rows].mean(1)) for side in blocks)
                of_heads.append(float((softplus(-real) + softplus(wrong)).mean()))
    assert found == pytest.approx(sum(of_heads) / len(of_heads), rel=1e-4)


def test_the_student_is_led_to_what_the_heads_take_for_the_set(teacher):
    """A small step of its weights against the gradient lowers the loss, and the pool has none."""
    played = game(teacher)
    drawn = played.drawn(0)
    with teacher.frozen():
        before = played.student_loss(drawn).value
        assert all(weight.grad is None for weight in played.pool.parameters())
        with torch.no_grad():
            norm = played.trainer.gradient_norm()
            for weight in played.student.denoiser.parameters():
                if weight.grad is not None:
                    weight.sub_(1e-2 * weight.grad / norm)
        assert played.student_loss(drawn).value < before
    assert all(weight.requires_grad for weight in played.pool.parameters())


@pytest.mark.parametrize("micro_batch", [1, 4])
def test_gradients_of_pieces_are_those_of_the_whole(teacher, micro_batch):
    """A head's mean is over all rows of its range, whatever is in memory."""
    found = []
    for size in (None, micro_batch):
        played = game(teacher, micro_batch=size)
        drawn = played.drawn(0)
        with teacher.frozen():
            values = [played.heads_loss(drawn).value, played.student_loss(drawn).value]
        found.append((values, played.student.denoiser.conv_in.weight.grad, played.pool.heads[0].first.weight.grad))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    for one, two in zip(found[0][1:], found[1][1:], strict=True):
        assert torch.allclose(one, two, rtol=1e-3, atol=1e-4 * float(one.abs().max()))


def test_as_many_heads_begin_anew_as_is_asked_for_and_their_moments_are_gone(teacher):
    played, seen = game(teacher, refresh=0.1), []
    heads = played.trainer.others["heads"]
    heads.replace = lambda fresh: seen.append(next(iter(fresh)))
    for step in range(400):
        played.refresh(step)
    assert len(seen) == pytest.approx(0.1 * 16 * 400, rel=0.15)
    assert len(set(seen)) == 16


def trained(trainer, last):
    for step in range(trainer.step, last):
        weights = trainer._weights
        loss = (weights["a"] * (step + 1)).sum() + ((weights["b"] * 2).sum() if step != 1 else 0.0)
        loss.backward()
        trainer.update(float(loss.detach()), trainer.gradient_norm())
        if step == 2:
            trainer.replace({"b": torch.tensor([5.0])})
    return trainer


def test_weights_that_begin_anew_or_wait_go_on_after_a_kill_as_without():
    """Adam counts updates weight by weight: `b` was left out of one and began anew after another."""

    def fresh():
        settings = OptimizerSettings(steps=6, learning_rate=0.1, ema=0.9)
        return Trainer({"a": torch.tensor([1.0]), "b": torch.tensor([1.0])}, settings)

    whole = trained(fresh(), 6)
    for kill in range(1, 6):
        half, again = trained(fresh(), kill), fresh()
        again.restore({key: value.clone() for key, value in half.state().items()}, kill)
        state = trained(again, 6).state()
        assert state.keys() == whole.state().keys()
        assert all(torch.equal(value, state[key]) for key, value in whole.state().items())


def test_the_planned_calls_are_those_made(teacher, monkeypatch):
    method, rows, predict = NitroFusion(**SMALL), [], type(teacher).predict
    monkeypatch.setattr(type(teacher), "predict", lambda self, x, *rest: rows.append(len(x)) or predict(self, x, *rest))
    found = method(teacher, planted())
    assert method.planned(teacher).forward == sum(rows)
    assert found.model.sampling == BakedSampling((999,), "ddim", "baked", (1.0, 1.0))


def test_rows_of_no_judging_head_cost_nothing_and_break_nothing(teacher):
    found = NitroFusion(**{**SMALL, "batch": 1, "judging": 1, "steps": 4})(teacher, planted())
    assert found.facts["loss_of_the_student"] >= 0


def test_a_timestep_that_there_is_not_is_refused(teacher):
    with pytest.raises(BadInput, match="1 to 999"):
        NitroFusion(**SMALL, timestep=0).check(teacher)


def test_a_denoiser_without_a_middle_block_is_refused(teacher, monkeypatch):
    monkeypatch.setattr(teacher.denoiser, "mid_block", None)
    with pytest.raises(BadInput, match="no middle block"):
        NitroFusion(**SMALL).check(teacher)
