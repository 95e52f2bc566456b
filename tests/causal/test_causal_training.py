import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from intaglio.causal.methods.sicl.training.batches import TrainingBatches, encoded_batch, select_tables, usable_indices
from intaglio.causal.methods.sicl.training.curriculum import Curriculum
from intaglio.causal.methods.sicl.training.held_out import average_precision, held_out_scores
from intaglio.causal.methods.sicl.training.settings import SiCLTraining
from intaglio.causal.methods.sicl.training.training import fresh_network, train_network
from intaglio.causal.simulate import simulator
from intaglio.causal.simulate.recipe import Recipe
from intaglio.learning.checkpoints import STATE
from intaglio.learning.trainer import Trainer
from intaglio.randomness import numpy_generator
from intaglio.runs.run import Run

TINY = SiCLTraining(
    width=8,
    blocks=1,
    factors=2,
    pair_width=8,
    pair_layers=1,
    channels=4,
    columns=(3, 5),
    rows=(30, 50),
    context=10,
    cells=60,
    most=6,
    lot=3,
    steps=8,
    judge_every=3,
    warmup=1,
    learning_rate=3e-3,
    ema=0.9,
)


def weights(network):
    return torch.cat([weight.detach().flatten() for weight in network.parameters()])


def opened(folder):
    return Run.open(folder, "causal", "train", {}, {}, seed=0, device="cpu", command=(), progress="none")


@pytest.mark.parametrize("kind", ["light", "axial", "node-edge"])
def test_a_training_learns_and_gives_the_same_bits_again(kind):
    usual = SiCLTraining()
    pairs = {name: getattr(usual, name) for name in ("factors", "pair_width", "pair_layers", "channels")}
    settings = replace(TINY, network=kind, **({} if kind == "light" else pairs))
    one, two = train_network(settings), train_network(settings)
    assert torch.equal(weights(one.network), weights(two.network))
    assert not torch.equal(weights(one.network), weights(fresh_network(settings)))
    assert bool(one.losses.isfinite().all())
    assert not any(weight.requires_grad for weight in one.network.parameters())


def test_a_killed_training_ends_where_an_undisturbed_one_does(tmp_path, monkeypatch):
    with opened(tmp_path / "whole") as run:
        whole = train_network(TINY, run=run)
        told = run.logged("train")
    real = Trainer.update

    def until_five(self, loss, norm):
        if self.step == 5:
            raise RuntimeError("the power went")
        real(self, loss, norm)

    with monkeypatch.context() as patched, opened(tmp_path / "cut") as run:
        patched.setattr(Trainer, "update", until_five)
        with pytest.raises(RuntimeError, match="power"):
            train_network(TINY, run=run, checkpoint_every=2)
    with opened(tmp_path / "cut") as run:
        assert run.load_state(STATE)[1]["step"] == 4
        again = train_network(TINY, run=run)
        rows = run.logged("train")
    assert torch.equal(weights(whole.network), weights(again.network))
    assert torch.equal(whole.losses, again.losses)
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert [row["tables"] for row in rows] == [row["tables"] for row in told]
    assert again.tables == whole.tables == sum(row["tables"] for row in rows)


def test_a_loss_that_is_not_finite_stops_with_the_state_before_it(tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "gradient_norm", lambda self: torch.tensor(float("nan")))
    with opened(tmp_path) as run:
        with pytest.raises(Exception, match="step 1: the state before it is saved"):
            train_network(TINY, run=run)
        assert run.load_state(STATE)[1]["step"] == 0


def test_lessons_are_functions_of_seed_and_step():
    one, two = TrainingBatches(TINY, 4, 8), TrainingBatches(TINY, 4, 8)
    backwards = [two(step)[0] for step in reversed(range(6))][::-1]
    for step, other in enumerate(backwards):
        tables, _ = one(step)
        assert torch.equal(tables.cells, other.cells)
    assert not torch.equal(TrainingBatches(TINY, 5, 8)(0)[0].cells, one(0)[0].cells)
    first, second = one(0)[0], one(1)[0]
    assert first.cells.shape[1:] == second.cells.shape[1:]  # of one lot, so of one size
    assert not torch.equal(first.cells, second.cells)


def test_sizes_grow_with_the_steps():
    curriculum = Curriculum()
    early = {curriculum.size(0, lot, 6000)[0] for lot in range(300)}
    middle = {curriculum.size(0, lot, 6000)[0] for lot in range(300, 800)}
    late = {curriculum.size(0, lot, 6000)[0] for lot in range(800, 1000)}
    assert max(early) == 12
    assert max(middle) == 25
    assert max(late) == 50
    for lot in range(0, 1000, 7):
        d, n = curriculum.size(1, lot, 6000)
        assert n * d <= curriculum.largest
    assert curriculum.count(2) == 64
    assert curriculum.count(50) == 2


def test_families_that_are_held_back_are_never_drawn():
    assert not {"ws", "grg"} & Curriculum().recipe.families.keys()
    assert "sf" not in Curriculum(held_back=("sf",)).recipe.families


def test_unusable_tables_are_left_out_of_a_lesson():
    batch = simulator.draw(Recipe(), numpy_generator(0, 1), 8, 4, 40)
    batch = replace(batch, valid=np.array([False, True] * 4))
    batch.tables[3, :, 2] = np.nan
    assert usable_indices(batch).tolist() == [1, 5, 7]
    tables, truth = encoded_batch(batch, 10)
    assert len(tables.cells) == 3
    assert np.array_equal(truth.adjacency[1].numpy(), batch.adjacency[5])
    chosen = select_tables(batch, np.array([2, 0]))
    assert chosen.family == (batch.family[2], batch.family[0])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"heads": 3}, "heads must divide the width"),
        ({"network": "axial", "channels": 3}, "channels is of light networks; leave it out for axial"),
        ({"seed": 20_000_000}, "others are for proofs"),
        ({"columns": (1,)}, "2 columns"),
        ({"held_back": ("er", "zoo")}, "no family 'zoo'"),
        ({"parts": (0.8, 0.3)}, "two rising shares"),
        ({"ema": 1.5}, "ema must lie between"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
    ],
)
def test_wrong_settings_are_named(wrong, words):
    with pytest.raises(ValueError, match=words):
        SiCLTraining(**wrong)


def test_settings_are_plain_values():
    assert json.loads(json.dumps(asdict(TINY)))["steps"] == 8


def test_average_precision_by_hand():
    p, true = np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, False, True, False])
    assert average_precision(p, true) == pytest.approx((1 + 2 / 3) / 2)
    assert np.isnan(average_precision(p, np.zeros(4, bool)))


def test_judging_does_not_disturb_the_training():
    network = fresh_network(TINY).train()
    before = torch.random.get_rng_state()
    first, second = held_out_scores(network, TINY), held_out_scores(network, TINY)
    assert first == second
    assert network.training
    assert torch.equal(before, torch.random.get_rng_state())
    assert 0 <= first["ap_5_200"] <= 1
