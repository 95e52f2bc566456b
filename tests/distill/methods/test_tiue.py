import math

import pytest
import torch

import tiny
from distill_scenes import planted
from intaglio.distill.methods import tiue
from intaglio.distill.methods.tiue import TiUE, adapted, from_unit_noise
from intaglio.distill.student_run import OwnPictures, distil
from intaglio.distill.two_players import TwoPlayers
from intaglio.errors import BadInput
from intaglio.learning.settings import OptimizerSettings
from intaglio.learning.trainer import Trainer
from intaglio.models.diffusion.baked_sampling import BakedSampling
from intaglio.models.diffusion.loading import load_model
from intaglio.randomness import generator_32bit
from intaglio.runs.run import Run
from intaglio.sampling.grid import timestep_grid
from intaglio.sampling.loop import latent_batches
from intaglio.sampling.methods.loopfree import Loopfree

SMALL = {"steps": 2, "batch": 2, "rank": 2, "alpha": 4.0}
BAD = {"rank": 0}
PIECES = {"micro_batch": 1, "gradient_checkpointing": True}
VARIANTS = {
    "alone": {
        "SMALL": {"guidance": 1.0, "turns": 2, "student_steps": 1, "noise_weight": 0.0},
        "BAD": {"noise_weight": -0.1},
        "PIECES": {"micro_batch": 1},
    }
}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("tiny") / "sd"))


def game(teacher, **settings):
    """A game of a few updates on the tiny teacher, whose student has weights of its own."""
    method = TiUE(**{"batch": 4, "steps": 3, "rank": 2, "alpha": 4.0, **settings})
    student = teacher.copy()
    fake = adapted(teacher, method.rank, method.alpha, method.seed)
    other = Trainer(fake.weights, OptimizerSettings(steps=6, learning_rate=1e-2))
    trainer = TwoPlayers({"a": torch.tensor([1.0])}, OptimizerSettings(steps=3), {"fake": other})
    grid = timestep_grid(teacher.schedule, method.student_steps)
    student.denoiser.requires_grad_(True)
    return tiue._Game(method, teacher, student, fake.model, planted(), trainer, grid)


def gradients(played):
    return {name: weight.grad for name, weight in played.student.denoiser.named_parameters()}


@pytest.mark.parametrize("mean", [0.7, -1.3, 0.0])
def test_of_normal_laws_the_gradient_is_n3_s_m_and_zero_at_the_teacher(teacher, monkeypatch, mean):
    """Teacher N(0, 1), student N(m, 1): ε = n x and n (x - s m), so n² times their difference is n³ s m everywhere."""
    played = game(teacher, guidance=1.0)
    n = teacher.schedule.noises.float()
    s = teacher.schedule.signals.float()

    def exact(m):
        return lambda x, t, given: n[t].view(-1, 1, 1, 1) * (x - s[t].view(-1, 1, 1, 1) * m)

    monkeypatch.setattr(played.teacher, "predict", exact(0.0))
    monkeypatch.setattr(played.fake, "predict", exact(mean))
    t = torch.tensor([30, 300, 600, 970])
    clean, added = torch.randn(2, 4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    found = played.led(clean, added, t, teacher.embed(["dog"] * 4))
    known = (n[t] ** 3 * s[t] * mean).view(-1, 1, 1, 1).expand_as(found)
    assert torch.allclose(found, known, atol=1e-5)
    # Steps against it lead the mean to the teacher's.
    assert mean == 0 or (found.sign() == math.copysign(1, mean)).all()


def test_the_divergence_from_unit_noise_in_closed_form():
    """Of maps with a planted mean and variance: ½ (m² + v - 1 - log v), and 0 for unit noise alone."""
    z = torch.randn(3, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    z = (z - z.mean((1, 2, 3), keepdim=True)) / z.std((1, 2, 3), keepdim=True)
    planned = torch.tensor([[0.0, 1.0], [0.5, 1.0], [-0.3, 2.0]])
    maps = planned[:, 0].view(3, 1, 1, 1) + planned[:, 1].view(3, 1, 1, 1) * z
    exact = [(m**2 + s**2 - 1 - math.log(s**2)) / 2 for m, s in planned.tolist()]
    assert from_unit_noise(maps).tolist() == pytest.approx(exact, abs=1e-5)
    assert from_unit_noise(torch.zeros(1, 4, 2, 2)).isfinite().all()


def test_the_loss_of_an_update_written_out(teacher):
    """Both parts by hand: decoders on the features of the first step, DDIM, guided scores of the noised result."""
    played, scale = game(teacher, noise_weight=0.002), 4.5
    with torch.no_grad():
        for weight in played.trainer.others["fake"]._weights.values():
            weight.add_(0.3)
    with teacher.frozen():
        loss = played.student_loss(0)
    z, t, captions, _ = played.drawn("student", 0)
    assert ((t >= 20) & (t < 981)).all()
    unet, given = played.student.denoiser, teacher.embed(captions)
    s, n = teacher.schedule.signals.double(), teacher.schedule.noises.double()
    kept, maps, x = {}, [], z.double()
    blocks = [unet.conv_in, *unet.down_blocks, unet.mid_block]
    with torch.no_grad():
        for here, there in ((999, 749), (749, 499), (499, 249), (249, None)):
            handles = [
                block.register_forward_hook(lambda m, a, output, k=k: kept.setdefault(k, output))
                for k, block in enumerate(blocks)
            ]
            eps = played.student.predict(z, torch.full((4,), here), given).double()
            for handle in handles:
                handle.remove()
            x = (x - n[here] * eps) / s[here]
            x = x if there is None else s[there] * x + n[there] * eps
            maps.append(eps)
        noised = s[t].view(-1, 1, 1, 1) * x + n[t].view(-1, 1, 1, 1) * played.unit("level", 0)
        scores = []
        for model in (teacher, played.fake):
            empty, prompted = (model.predict(noised.float(), t, one) for one in (teacher.embed([""] * 4), given))
            scores.append(empty + scale * (prompted - empty))
    led = n[t].view(-1, 1, 1, 1) ** 2 * (scores[0] - scores[1])
    apart = sum((one.mean((1, 2, 3)) ** 2 + (v := one.var((1, 2, 3))) - 1 - v.log()) / 2 for one in maps)
    one, two = float(led.square().mean()) / 2, 0.002 * float(apart.mean())
    assert min(one, two) > 0.5 * max(one, two), "either part counts"
    assert loss.value == pytest.approx(one + two, rel=1e-3)
    assert loss.beside["from_unit_noise"] == pytest.approx(float(apart.mean()), rel=1e-3)


def test_the_students_gradient_is_what_the_latents_are_led_by(teacher, monkeypatch):
    """The target is held fixed: of a student that is a leaf, the gradient is led / (rows · numbers)."""
    played = game(teacher, noise_weight=0.0)
    leaf = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    led = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(tiue._Game, "latents", lambda self, noise, given: (leaf, [leaf.detach()]))
    monkeypatch.setattr(tiue._Game, "led", lambda self, *_: led)
    played.student_loss(0)
    assert torch.allclose(leaf.grad, led / leaf.numel(), rtol=1e-4, atol=1e-7)


def test_in_one_step_the_student_is_the_teachers_own_pass(teacher):
    played = game(teacher, student_steps=1)
    z, _, captions, _ = played.drawn("student", 0)
    given, t = teacher.embed(captions), torch.full((4,), 999)
    with torch.no_grad():
        clean, (predicted,) = played.latents(z, given)
        assert torch.equal(predicted, teacher.predict(z, t, given))
    s, n = teacher.schedule.signals[999].float(), teacher.schedule.noises[999].float()
    assert torch.allclose(clean, (z - n * predicted) / s, rtol=1e-4, atol=1e-4)


def test_training_draws_what_loopfree_does(teacher):
    """The walk that is trained and the sampling of the student are one, from the same unit noise."""
    played = game(teacher)
    sampling = BakedSampling((999, 749, 499, 249), "ddim", "baked", (4.5, 4.5), "loopfree")
    student = teacher.made_for(sampling, played.student.denoiser, "student")
    about = {"steps": 4, "guidance_scale": 4.5, "sampler": "ddim", "negative": ""}
    drawn = torch.cat(list(latent_batches(student, ["dog", "red cat"], [7, 8], method=Loopfree(), **about)))
    z = torch.stack([torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(k)) for k in (7, 8)])
    with torch.no_grad():
        clean, _ = played.latents(z, teacher.embed(["dog", "red cat"]))
    assert torch.allclose(clean, drawn, rtol=1e-3, atol=1e-4 * float(drawn.abs().max()))


@pytest.mark.parametrize("micro_batch", [1, 3])
def test_gradients_of_pieces_are_those_of_the_whole(teacher, micro_batch):
    found = []
    for size in (None, micro_batch):
        played = game(teacher, micro_batch=size)
        with teacher.frozen():
            played.student_loss(0)
        found.append(gradients(played))
    for name, whole in found[0].items():
        assert torch.allclose(found[1][name], whole, rtol=1e-3, atol=1e-4 * float(whole.abs().max()) + 1e-9), name


def test_the_fake_is_the_teacher_under_an_adapter_that_changes_nothing_yet(teacher):
    fake = adapted(teacher, 2, 4.0, 0)
    x, t, given = torch.randn(2, 4, 8, 8), torch.tensor([10, 900]), teacher.embed(["dog", "cat"])
    with torch.no_grad():
        known = teacher.predict(x, t, given)
        assert torch.equal(fake.model.predict(x, t, given), known)
        for weight in fake.weights.values():
            weight.add_(0.2)
        assert (fake.model.predict(x, t, given) - known).abs().max() > 1e-4
        assert torch.equal(teacher.predict(x, t, given), known), "the teacher itself has no adapter"
    own = {weight.data_ptr() for weight in teacher.denoiser.parameters()}
    assert {weight.data_ptr() for weight in fake.model.denoiser.parameters()} == own, "no weight is held twice"
    assert {name.split(".")[-2] for name in fake.weights} == {"to_q", "to_v"}


def test_the_fake_learns_to_denoise_what_the_student_draws(teacher, monkeypatch):
    """Its loss is the error of the noise; of captions a share is left out, for it alone."""
    played, told = game(teacher, caption_dropout=0.5), []
    embed = teacher.embed
    monkeypatch.setattr(teacher, "embed", lambda texts: told.append(list(texts)) or embed(texts))
    with teacher.frozen():
        value = played.turn_loss(0).value
    (whole, heard), (z, t, captions, _) = told, played.drawn("turn", 0)
    assert whole == captions
    assert "" in heard
    assert all(one in ("", two) for one, two in zip(heard, captions, strict=True))
    added = torch.randn(4, 4, 8, 8, generator=generator_32bit(0, "added", "noise", 0))
    with torch.no_grad():
        clean, _ = played.latents(z, embed(captions))
        error = played.fake.predict(teacher.noised(clean, added, t), t, embed(heard)) - added
    assert value == pytest.approx(float(error.square().mean()), rel=1e-4)
    assert all(weight.grad is None for weight in played.student.denoiser.parameters())


@pytest.mark.parametrize("changes", [{}, {"guidance": 1.0, "turns": 2, "student_steps": 1}])
def test_the_planned_calls_are_those_made(teacher, monkeypatch, changes):
    method, rows, predict = TiUE(**SMALL, **changes), [], type(teacher).predict
    monkeypatch.setattr(type(teacher), "predict", lambda self, x, *rest: rows.append(len(x)) or predict(self, x, *rest))
    method(teacher, planted())
    assert method.planned(teacher).forward == sum(rows)


def test_only_captions_are_taken_from_the_set(teacher):
    found = []
    for seed in (0, 1):
        data = planted()
        data.latents.copy_(torch.randn(data.latents.shape, generator=torch.Generator().manual_seed(seed)))
        found.append(TiUE(**SMALL)(teacher, data).model.fingerprint)
    assert found[0] == found[1]


def test_a_run_keeps_the_student_and_pictures_by_its_own_method(teacher, tmp_path):
    """The run draws the student by the method that it was made for, and its folder says that."""
    inputs = {"model": {"path": "tiny", "sha256": "0" * 64}}
    with Run.open(tmp_path, "distill", "tiue", {}, inputs, seed=0, device="cpu", command=(), progress="none") as run:
        distil(TiUE(**SMALL, student_steps=2), teacher, OwnPictures(("dog", "red cat"), 2, 3.0), run)
        assert "by the method loopfree" in run.summary["sampling"]
        assert len(list(run.folder.rglob("student/*.png"))) == 2
        student = load_model(run.folder / run.summary["model"])
    assert student.sampling == BakedSampling((999, 499), "ddim", "baked", (4.5, 4.5), "loopfree")


def test_a_teacher_without_a_unet_or_with_too_few_timesteps_is_refused(teacher):
    twin = teacher.copy()
    twin.denoiser = torch.nn.Sequential(torch.nn.Linear(2, 2))
    with pytest.raises(BadInput, match="encoder of a U-Net"):
        TiUE(**SMALL).check(twin)
    with pytest.raises(BadInput, match="steps cannot be taken"):
        TiUE(**SMALL, student_steps=1001).check(teacher)
