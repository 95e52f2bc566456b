"""Training, likelihood and ranking of flows on a handful of tiny pictures."""

import math

import pytest
import torch

from flow_scenes import unit
from intaglio.errors import BadInput, IntaglioError
from intaglio.flow.block.ranking import ranked
from intaglio.flow.likelihood import likelihood
from intaglio.flow.training.data import FlowPictures, dequantised, load_pictures
from intaglio.flow.training.settings import FlowTraining
from intaglio.flow.training.training import Batches, train_flow
from intaglio.images.image_set import ImageSet, save_png
from intaglio.learning.trainer import Trainer
from intaglio.runs.run import Run
from loopback_cluster import Loopback

TINY = {
    "resolution": 8,
    "patch_size": 2,
    "hidden_size": 16,
    "head_dim": 8,
    "blocks": 2,
    "layers": (1,),
    "batch": 4,
    "steps": 6,
    "held_out": 0.2,
    "judge_every": 2,
    "warmup": 0,
}


def pictures(n=20, classes=2, size=8) -> FlowPictures:
    source = torch.Generator().manual_seed(0)
    pixels = (torch.rand(n, 3, size, size, generator=source) * 255).round() / 255
    labels = torch.arange(n) % classes if classes else None
    return FlowPictures(ImageSet.from_pixels(pixels), labels, tuple("ab"[:classes]))


def opened(root):
    return Run.open(root, "flow", "train", {}, {}, seed=0, device="cpu", command=(), progress="none")


class Killed(BaseException):
    pass


def test_a_killed_training_goes_on_and_ends_with_the_same_bits(tmp_path, monkeypatch):
    data, settings = pictures(), FlowTraining(**TINY, mirror=True)
    whole = train_flow(data, settings)
    update, count = Trainer.update, [0]

    def dying(self, *args):
        count[0] += 1
        if count[0] == 4:
            raise Killed
        return update(self, *args)

    monkeypatch.setattr(Trainer, "update", dying)
    with pytest.raises(Killed), opened(tmp_path) as run:
        train_flow(data, settings, run=run, checkpoint_every=1)
    monkeypatch.setattr(Trainer, "update", update)
    with opened(tmp_path) as run:
        again = train_flow(data, settings, run=run)
        rows = run.logged("train")
        judged = run.logged("held-out")
    assert torch.equal(again.losses, whole.losses)
    assert again.held_out == whole.held_out
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor), name
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in judged] == [2, 4, 6]


def test_the_first_loss_is_that_of_standard_normal_pictures():
    data, settings = pictures(), FlowTraining(**{**TINY, "steps": 1})
    found = train_flow(data, settings)
    kept, _ = data.split(settings.held_out, 0)
    shown, _ = Batches(data, kept, settings, "cpu")(0)
    # the flow begins as the identity, so the loss is half the mean square of what it was shown
    assert found.losses[0].item() == pytest.approx(0.5 * shown.square().mean().item(), rel=1e-5)


def test_training_learns_and_leaves_random_state_and_labels_alone():
    data = pictures(classes=0)
    before = torch.random.get_rng_state()
    found = train_flow(data, FlowTraining(**{**TINY, "steps": 60, "learning_rate": 3e-3, "ema": None}))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert found.losses[-10:].mean() < found.losses[:3].mean() - 0.1
    assert found.classes == ()
    assert not found.model.training


def test_held_out_pictures_are_never_shown():
    data, settings = pictures(), FlowTraining(**{**TINY, "noise": 0.0})
    kept, aside = data.split(0.2, 0)
    assert sorted([*kept.tolist(), *aside.tolist()]) == list(range(20))
    assert len(aside) == 4
    batches = Batches(data, kept, settings, "cpu")
    for step in range(12):
        shown, _ = batches(step)
        levels = ((shown + 1) * 128).floor().int()
        for picture in aside.tolist():
            same = (levels == (data.images.pixels[picture] * 255).round().int()).all((1, 2, 3))
            assert not same.any()
    with pytest.raises(BadInput, match="too few to hold out"):
        pictures(n=1).split(0.9, 0)


def test_dequantised_pictures_stay_within_their_level_and_noisy_ones_have_the_deviation():
    pixels = pictures().images.pixels
    uniform = dequantised(pixels, 0.0, torch.Generator().manual_seed(1))
    levels = (pixels * 255).round()
    assert bool((uniform >= 2 * levels / 256 - 1).all())
    assert bool((uniform < 2 * (levels + 1) / 256 - 1 + 1e-6).all())
    noisy = dequantised(pixels, 0.1, torch.Generator().manual_seed(1)) - (2 * pixels - 1)
    assert noisy.std().item() == pytest.approx(0.1, rel=0.05)


def test_labels_are_left_out_as_often_as_asked():
    data, settings = pictures(), FlowTraining(**{**TINY, "label_dropout": 0.3, "batch": 16})
    batches = Batches(data, torch.arange(20), settings, "cpu")
    labels = torch.cat([batches(step)[1] for step in range(60)])
    assert (labels == -1).float().mean().item() == pytest.approx(0.3, abs=0.05)


def test_a_budget_of_time_is_measured_once_and_kept(tmp_path):
    data, settings = pictures(), FlowTraining(**TINY, minutes=0.002)
    with opened(tmp_path) as run:
        first = train_flow(data, settings, run=run)
        steps = run.recorded("horizon")["steps"]["steps"]
    assert len(first.losses) == steps >= 1
    with opened(tmp_path) as run:
        run.record("horizon", "steps", {"steps": 3})
        run.drop_state("training")
        assert len(train_flow(data, settings, run=run).losses) == 3


def test_without_scales_the_priors_variance_is_measured():
    found = train_flow(pictures(classes=0), FlowTraining(**{**TINY, "nvp": False, "steps": 2}))
    assert not torch.equal(found.model.variance, torch.ones_like(found.model.variance))
    expected = found.model(2 * pictures().images.pixels - 1).latents.square().mean(0)
    assert (found.model.variance - expected).abs().mean() < 0.2


def test_a_loss_that_is_not_finite_ends_in_a_sentence():
    with pytest.raises(IntaglioError, match="not finite at step"):
        train_flow(pictures(), FlowTraining(**{**TINY, "learning_rate": 1e30, "final_rate": 0.0, "clip": None}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("patch_size", 3),
        ("head_dim", 7),
        ("layers", (1, 2, 3)),
        ("noise", -0.1),
        ("steps", 0),
        ("minutes", 0.0),
        ("ema", 1.0),
        ("held_out", 1.0),
        ("label_dropout", 1.0),
        ("final_rate", 1.0),
        ("soft_clip", 0.0),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=name):
        FlowTraining(**{**TINY, name: value})
    with pytest.raises(ValueError, match="too coarse"):
        FlowTraining(**TINY, precision="bfloat16", noise=0.0)


def test_the_rate_rises_and_ends_where_it_should():
    settings = FlowTraining(**{**TINY, "steps": 100, "warmup": 10, "learning_rate": 1.0, "final_rate": 0.1})
    assert settings.rate(0) == pytest.approx(0.1)
    assert settings.rate(10) == pytest.approx(1.0)
    assert settings.rate(55) == pytest.approx(0.55)
    assert settings.rate(99) == pytest.approx(0.1, abs=1e-3)


def test_folders_become_classes(tmp_path):
    for label, name in enumerate(["cat", "dog"]):
        for index in range(2 + label):
            save_png(torch.full((3, 9, 9), 0.2 * label + 0.1 * index), tmp_path / name / f"{index}.png")
    data = load_pictures(tmp_path, 8, classes=True)
    assert data.classes == ("cat", "dog")
    assert data.labels.tolist() == [0, 0, 1, 1, 1]
    assert data.images.names == ("cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png", "dog/2.png")
    assert data.relabelled(("dog", "cat")).labels.tolist() == [1, 1, 0, 0, 0]
    with pytest.raises(BadInput, match="0 subfolders"):
        load_pictures(tmp_path / "cat", 8, classes=True)
    with pytest.raises(BadInput, match="no folder"):
        load_pictures(tmp_path / "nowhere", 8, classes=True)


def test_a_likelihood_is_the_mean_over_draws_whatever_the_batch():
    model, data = unit(double=False, num_classes=2), pictures()
    whole = likelihood(model, data, draws=2, batch=20)
    parts = likelihood(model, data, draws=2, batch=7)
    torch.testing.assert_close(whole.bits, parts.bits, atol=1e-5, rtol=0)
    with Loopback().block():
        assert torch.equal(likelihood(model, data, draws=2, batch=7).bits, parts.bits)
    assert whole.spread.min() > 0
    assert not whole.noisy
    shown = torch.stack([2 * data.images.pixels[3] - 1])
    near = (model.nats(model(shown, data.labels[3:4])) + math.log(128)) / math.log(2)
    assert whole.bits[3].item() == pytest.approx(near.item(), abs=0.05)
    assert likelihood(unit(double=False, num_classes=2, noise_std=0.1), data).noisy
    with pytest.raises(ValueError, match="at least one"):
        likelihood(model, data, draws=0)


def test_ranks_are_gs_jacobis_norms():
    model = unit(spread=0.4)
    x = 2 * torch.rand(6, 3, 8, 8, dtype=torch.float64) - 1
    hidden = model(x).hidden
    by_block = {rank.block: rank for rank in ranked(model, x)}
    for index in range(3):
        block = model.block(index)
        u, v = block.permuted(hidden[index]), block.permuted(hidden[index + 1])
        a = torch.zeros_like(u)
        a[:, 1:] = block.parameters_after(u, block.offset(None))[0][:, :-1]
        weight = block.proj_out.weight
        mean = (u / a.exp()).mean(0)
        crm = (
            torch.linalg.svdvals(mean)[0] * torch.linalg.svdvals(weight[:12])[0] + torch.linalg.svdvals(weight[12:])[0]
        )
        assert by_block[index].convergence == pytest.approx(crm.item())
        a, b = block.parameters_after(v, block.offset(None))
        first = torch.cat([v[:, :1], v[:, 1:] * a[:, :-1].exp() + b[:, :-1]], 1)
        assert by_block[index].from_output == pytest.approx(torch.linalg.svdvals((first - u).mean(0))[0].item())
    assert [rank.convergence for rank in ranked(model, x)] == sorted(
        (rank.convergence for rank in by_block.values()), reverse=True
    )
