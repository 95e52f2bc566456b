import pytest
import torch

import tiny
from distill_scenes import planted
from exact_draws import ExactMixture
from intaglio.distill.guidance_input import with_guidance_input
from intaglio.distill.methods import guided
from intaglio.distill.methods.guided import GuidedDistillation
from intaglio.errors import BadInput
from intaglio.models.diffusion.baked_sampling import BakedSampling
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.run import Run
from intaglio.sampling.grid import timestep_grid
from intaglio.sampling.loop import latent_batches

SMALL = {"steps": 2, "batch": 2, "halving_steps": 2, "student_steps": 1, "first_steps": 2}
BAD = {"first_steps": 12}
PIECES = {"micro_batch": 1, "gradient_checkpointing": True}

MEANS = torch.tensor([-1.5, 0.8])
MIXTURE = ExactMixture(MEANS.reshape(2, 1, 1, 1), torch.tensor([0.3, 0.1]), {"": [0.0, 0.0], "one": [20.0, 0.0]})


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("tiny") / "sd"))


def walked(model, steps, scale, count=3):
    options = {"sampler": "ddim", "steps": steps, "guidance_scale": scale, "negative": ""}
    return torch.cat(list(latent_batches(model, ["dog"] * count, range(count), batch=count, **options)))


def test_a_student_begins_as_its_teacher_under_the_prompt_whatever_the_scale(teacher):
    student = with_guidance_input(teacher, (1.0, 8.0), "student")
    x, t = torch.randn(2, 4, 8, 8), torch.tensor([999, 10])
    given = teacher.embed(["dog", "red cat"])
    assert torch.equal(student.predict(x, t, given.under(6.5)), teacher.predict(x, t, given))
    assert torch.equal(walked(student, 3, 7.0), walked(teacher, 3, 1.0))  # one call a step, and no second branch


def test_the_first_stage_has_no_error_at_the_guided_prediction_alone(teacher):
    """The student is made to answer a + w (b - a), written out here, for every scale that it is asked under."""
    method = GuidedDistillation(batch=4, caption_dropout=0.0)
    student = with_guidance_input(teacher, (1.0, 8.0), "student")
    wanted = []

    def answer(latents, t, given):
        empty = teacher.predict(latents, t, teacher.embed([""])[[0] * len(latents)])
        prompted = teacher.predict(latents, t, given)
        wanted.append(given.guidance)
        return (
            ((1 - given.guidance)[:, None, None, None] * empty)
            .add_(given.guidance[:, None, None, None] * prompted)
            .requires_grad_()
        )

    student.predict = answer
    loss = method._input_loss(teacher, student, planted(), 0)
    assert loss.value < 1e-9
    assert len(set(wanted[0].tolist())) == 4
    assert min(wanted[0]) >= 1
    assert max(wanted[0]) <= 8
    student.predict = lambda latents, t, given: answer(latents, t, given.under(1.0))
    assert method._input_loss(teacher, student, planted(), 0).value > 1e-3


@pytest.mark.parametrize("micro_batch", [1, 3])
def test_gradients_of_pieces_are_those_of_the_whole(teacher, micro_batch):
    found = []
    for size in (None, micro_batch):
        method, gradients = GuidedDistillation(**{**SMALL, "batch": 4, "micro_batch": size}), []
        for loss in ("guidance", "halving"):
            student = with_guidance_input(teacher, (1.0, 8.0), "student")
            with teacher.frozen():
                student.denoiser.requires_grad_(True)
                if loss == "guidance":
                    method._input_loss(teacher, student, planted(), 0)
                else:
                    before = with_guidance_input(teacher, (1.0, 8.0), "before")
                    method._halving_loss(guided._Halving.of(before, 2), student, planted(), 0)
            gradients.append(student.denoiser.conv_in.weight.grad)
        found.append(gradients)
    for one, two in zip(*found, strict=True):
        assert torch.allclose(one, two, rtol=1e-3, atol=1e-4 * float(one.abs().max()))


def test_a_step_by_the_target_ends_where_two_of_the_teacher_do():
    """DDIM written out with each step's own signal and noise, in numbers of the schedule."""
    steps = 4
    halving = guided._Halving.of(MIXTURE, steps)
    grid = timestep_grid(MIXTURE.schedule, 2 * steps)
    given = MIXTURE.embed(["one"] * steps)
    x = torch.randn(steps, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    target = halving.target(x, torch.arange(steps), given)
    for place in range(steps):
        begin, end, at = grid[2 * place], grid[2 * place + 2], x[place : place + 1]
        there = at
        for one, two in zip(grid[2 * place : 2 * place + 2], grid[2 * place + 1 : 2 * place + 3], strict=True):
            noise = MIXTURE.predict(there, torch.tensor([one.t]), given[[place]])
            there = two.signal / one.signal * there + (two.noise - two.signal * one.noise / one.signal) * noise
        once = end.signal * (at - begin.noise * target[place]) / begin.signal + end.noise * target[place]
        assert float(once) == pytest.approx(float(there), abs=2e-5)


def test_every_second_level_of_a_grid_is_that_of_half_as_many_steps():
    for steps in (1, 2, 3, 7, 32):
        levels = [level.t for level in timestep_grid(MIXTURE.schedule, steps)]
        twice = guided._Halving.of(MIXTURE, steps).ts.tolist()
        assert twice[::2] == [max(t, 0) for t in levels]


def test_the_first_step_begins_at_unit_noise_and_the_others_at_noised_latents():
    halving = guided._Halving.of(MIXTURE, 2)
    clean, noise = torch.full((2, 1, 1, 1), 3.0), torch.full((2, 1, 1, 1), -1.0)
    level = timestep_grid(MIXTURE.schedule, 2)[1]
    begun = halving.begun(clean, noise, torch.tensor([0, 1])).flatten().tolist()
    assert begun == pytest.approx([-1.0, 3 * level.signal - level.noise])


def test_errors_are_those_of_the_clean_latents_where_the_signal_is_the_weaker():
    """x̂ = (x - n ε) / s, its squared error times max(s²/n², 1)."""
    found, target, x = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4)
    n = torch.tensor([0.1, 0.6, 0.995])
    s = (1 - n**2).sqrt()
    clean = [(x - n[:, None, None, None] * eps) / s[:, None, None, None] for eps in (found, target)]
    wanted = (s**2 / n**2).clamp(min=1) * (clean[0] - clean[1]).square().mean((1, 2, 3))
    assert torch.allclose(guided.weighted_errors(found, target, n / s), wanted, rtol=1e-4)


def test_a_halved_student_does_in_one_step_what_its_teacher_did_in_two(teacher):
    """On unit noise, the first step of a grid of one, where the training's law is that of use."""
    updates = {"steps": 1, "halving_steps": 40, "batch": 4, "learning_rate": 3e-4, "warmup": 0, "clip": None}
    method = GuidedDistillation(**updates, student_steps=1, first_steps=2, lowest_scale=0.0)
    data = planted(2, ("dog",))
    found = method(teacher, data)
    before = GuidedDistillation(**{**vars(method), "first_steps": 1})(teacher, data)  # the same first stage alone
    two, one, untrained = walked(before.model, 2, 2.0), walked(found.model, 1, 2.0), walked(before.model, 1, 2.0)
    assert (one - two).square().mean() < 0.8 * (untrained - two).square().mean()
    assert before.model.sampling == BakedSampling(guidance="input", scales=(0.0, 8.0))
    assert found.model.sampling == BakedSampling((999,), "ddim", "input", (0.0, 8.0))


def test_the_planned_calls_are_those_made(teacher, monkeypatch):
    method = GuidedDistillation(**SMALL)
    rows, predict = [], type(teacher).predict
    monkeypatch.setattr(type(teacher), "predict", lambda self, x, *rest: rows.append(len(x)) or predict(self, x, *rest))
    method(teacher, planted())
    planned = method.planned(teacher)
    assert (planned.forward, planned.backward) == (sum(rows), 2 * (2 + 2))


def test_a_run_killed_in_the_second_stage_does_not_train_the_first_again(teacher, tmp_path):
    method, data = GuidedDistillation(**SMALL), planted()
    about = {"seed": 0, "device": "cpu", "command": (), "progress": "none"}
    with Run.open(tmp_path, "distill", "guided", {}, {}, **about) as run:
        whole = method(teacher, data, run=run)
        run.drop_state("steps-1")
    with Run.open(tmp_path, "distill", "guided", {}, {}, **about) as run:
        again = method(teacher, data, run=run)
        assert [row["step"] for row in run.logged("guidance")] == [1, 2]
    assert again.model.weights_fingerprint == whole.model.weights_fingerprint


@pytest.mark.parametrize(
    ("sampling", "told"),
    [
        (BakedSampling(timesteps=(999, 499)), "distilled already"),
        (BakedSampling(guidance="baked", scales=(3.0, 3.0)), "distilled"),
    ],
)
def test_a_student_is_no_teacher(teacher, sampling, told):
    student = teacher.made_for(sampling, teacher.denoiser, "student")
    with pytest.raises(BadInput, match=told):
        GuidedDistillation(**SMALL).check(student)


@pytest.mark.parametrize(
    "wrong", [{"student_steps": 0}, {"student_steps": 3}, {"lowest_scale": 9.0}, {"halving_steps": 0}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong)).split("_")[0]):
        GuidedDistillation(**wrong)
