import itertools
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import get_args

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
)
from hypothesis import given
from hypothesis import strategies as st

import tiny
from intaglio.errors import BadInput, IntaglioError
from intaglio.models.diffusion.loading import load_model
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.runs.run import Run
from intaglio.sampling import loop
from intaglio.sampling.grid import CLEAN, level_at, timestep_grid
from intaglio.sampling.guide import GuideContext
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.loop import sample, sample_batches
from intaglio.sampling.sampler_names import SamplerName
from intaglio.sampling.samplers import SAMPLERS

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
PROMPTS, SEEDS = ["a red cat", "dog", "red"], [5, 6, 7]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {"sd": tiny.sd_folder(root / "sd"), "sdxl": tiny.sdxl_folder(root / "sdxl")}


@pytest.fixture(scope="module", params=["sd", "sdxl"])
def model(request, folders):
    return load_model(folders[request.param])


@pytest.fixture(scope="module")
def sd(folders):
    return load_model(folders["sd"])


# Against diffusers: the same network, the same noise, the same timesteps

REFERENCES = {
    "ddim": lambda: DDIMScheduler(**SD, clip_sample=False, timestep_spacing="trailing"),
    "euler": lambda: EulerDiscreteScheduler(**SD, timestep_spacing="trailing"),
    "heun": lambda: HeunDiscreteScheduler(**SD, timestep_spacing="trailing"),
    "dpm++2m": lambda: DPMSolverMultistepScheduler(**SD, timestep_spacing="trailing", final_sigmas_type="zero"),
    "ddpm": lambda: DDPMScheduler(**SD, clip_sample=False, timestep_spacing="trailing"),
    "euler_a": lambda: EulerAncestralDiscreteScheduler(**SD, timestep_spacing="trailing"),
}
IN_SIGMA = ("euler", "heun", "euler_a")


@torch.no_grad()
def by_diffusers(model, scheduler, steps, *, in_sigma=False):
    scheduler.set_timesteps(steps)
    words = model.embed(PROMPTS)
    sources = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    x = torch.stack([torch.randn(4, 8, 8, generator=source) for source in sources])
    if in_sigma:
        x = x / model.schedule.signals[-1].item()
    for t in scheduler.timesteps:
        seen = scheduler.scale_model_input(x, t) if in_sigma else x
        noise = model.predict(seen, t.long().expand(len(x)), words)
        takes_noise = isinstance(scheduler, DDPMScheduler | EulerAncestralDiscreteScheduler)
        x = scheduler.step(noise, t, x, **({"generator": sources} if takes_noise else {})).prev_sample
    return model.decode(x)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers
@pytest.mark.parametrize("name", list(REFERENCES))
@pytest.mark.parametrize("steps", [5, 20])
def test_samplers_agree_with_diffusers(sd, name, steps):
    drawn = sample(sd, PROMPTS, SEEDS, sampler=name, steps=steps, guidance_scale=1.0)
    known = by_diffusers(sd, REFERENCES[name](), steps, in_sigma=name in IN_SIGMA)
    assert torch.allclose(drawn.pixels, known, atol=2e-3)
    assert drawn.pixels.std() > 0.01


def test_velocity_and_a_schedule_that_ends_without_signal_agree_with_diffusers(tmp_path):
    changes = {"rescale_betas_zero_snr": True}
    model = load_model(tiny.sd_folder(tmp_path / "v", prediction="v_prediction", schedule=changes))
    drawn = sample(model, PROMPTS, SEEDS, steps=10, guidance_scale=1.0)
    scheduler = DDIMScheduler(
        **SD, **changes, clip_sample=False, timestep_spacing="trailing", prediction_type="v_prediction"
    )
    scheduler.set_timesteps(10)
    with torch.no_grad():
        words = model.embed(PROMPTS)
        x = torch.stack([torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in SEEDS])
        for t in scheduler.timesteps:
            raw = model.denoiser(x, t, encoder_hidden_states=words.hidden).sample
            x = scheduler.step(raw, t, x).prev_sample
        assert torch.allclose(drawn.pixels, model.decode(x), atol=5e-3)


# Against mathematics: for data of a known normal distribution the best network and the exact path are known

SPREAD = 0.5


def gaussian_noise(x, level):
    """The expected noise in x, where the clean data are normal with mean 0 and standard deviation SPREAD."""
    return x * level.noise / (level.signal**2 * SPREAD**2 + level.noise**2)


def spread_at(level):
    return (level.signal**2 * SPREAD**2 + level.noise**2) ** 0.5


def error_of(name, steps):
    """Largest distance from the exact path at t = 100, walking there from t = 900."""
    schedule = NoiseSchedule.from_config(SD)
    ts = torch.linspace(900, 100, steps + 1).round().long()
    grid = [level_at(schedule, int(t)) for t in ts]
    start = torch.linspace(-3, 3, 13, dtype=torch.float64) * spread_at(grid[0])
    found = SAMPLERS[name](gaussian_noise, start, grid, lambda: torch.zeros(13))
    return (found - start / spread_at(grid[0]) * spread_at(grid[-1])).abs().max().item()


@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("euler", 1), ("heun", 2), ("dpm++2m", 2)])
def test_deterministic_samplers_approach_the_exact_path_at_their_order(name, order):
    coarse, fine = error_of(name, 20), error_of(name, 80)
    assert coarse / fine > 0.9 * 4**order
    assert fine < (0.05 if order == 1 else 0.01)


@pytest.mark.parametrize("name", ["ddpm", "euler_a"])
def test_ancestral_samplers_end_in_the_right_distribution_and_not_on_the_path(name):
    source, count = torch.Generator().manual_seed(0), 20000

    def draw():
        return torch.randn(count, dtype=torch.float64, generator=source)

    start = draw()
    found = SAMPLERS[name](gaussian_noise, start, timestep_grid(NoiseSchedule.from_config(SD), 200), draw)
    assert found.std().item() == pytest.approx(SPREAD, rel=0.03)
    assert found.mean().item() == pytest.approx(0, abs=0.02)
    assert torch.corrcoef(torch.stack([found, start]))[0, 1] < 0.5


def test_the_names_that_command_lines_list_are_those_of_the_samplers():
    assert get_args(SamplerName) == tuple(SAMPLERS)


# The grid


@given(count=st.integers(2, 1000), data=st.data())
def test_the_grid_begins_at_the_noisiest_and_falls_to_clean(count, data):
    steps = data.draw(st.integers(1, count))
    schedule = NoiseSchedule.from_config({**SD, "num_train_timesteps": count})
    grid = timestep_grid(schedule, steps)
    ts = [level.t for level in grid[:-1]]
    assert len(ts) == steps
    assert ts[0] == count - 1
    assert all(one > two >= 0 for one, two in itertools.pairwise(ts))
    assert grid[-1] is CLEAN
    assert [level.signal for level in grid[:-1]] == schedule.signals[ts].tolist()
    assert [level.noise for level in grid[:-1]] == schedule.noises[ts].tolist()


def test_the_grid_of_ten():
    assert [level.t for level in timestep_grid(NoiseSchedule.from_config(SD), 10)][:3] == [999, 899, 799]


@pytest.mark.parametrize("steps", [0, 1001])
def test_steps_that_cannot_be_taken(sd, steps):
    with pytest.raises(BadInput, match=f"{steps} steps.*1 to 1000"):
        sample(sd, ["dog"], [0], steps=steps)


# A seed belongs to a picture


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_a_picture_is_the_same_in_whatever_batch(model, name):
    options = {"sampler": name, "steps": 2}
    whole = sample(model, PROMPTS, SEEDS, **options)
    single = sample(model, PROMPTS, SEEDS, batch=1, **options)
    alone = sample(model, PROMPTS[1:2], SEEDS[1:2], **options)
    assert torch.allclose(whole.pixels, single.pixels, atol=1e-5)
    assert torch.allclose(whole.pixels[1:2], alone.pixels, atol=1e-5)
    assert whole.captions == tuple(PROMPTS)
    again = sample(model, PROMPTS, SEEDS, **options)
    assert torch.equal(whole.pixels, again.pixels)


def test_the_seed_the_prompt_and_the_negative_prompt_matter(model):
    def drawn(prompt="dog", seed=0, **options):
        return sample(model, [prompt], [seed], steps=3, **options).pixels

    first = drawn()
    for other in (drawn("cat"), drawn(seed=1), drawn(negative="cat"), drawn(guidance_scale=2.0), drawn(sampler="heun")):
        assert not torch.allclose(first, other, atol=1e-6)
    assert torch.equal(drawn(guidance_scale=1.0), drawn(guidance_scale=1.0, negative="cat"))


def test_the_global_generator_is_neither_read_nor_moved(sd):
    before = torch.random.get_rng_state()
    sample(sd, ["dog"], [0], sampler="euler_a", steps=3)
    assert torch.equal(before, torch.random.get_rng_state())


# Guides


@dataclass(frozen=True)
class Recorder:
    """Predicts by the model alone; its state is the list of timesteps so far."""

    contexts: list = field(default_factory=list)
    ends: dict = field(default_factory=dict)

    def init(self, context):
        self.contexts.append(context)
        return (context, ())

    def step(self, state, latents, t, predict):
        context, seen = state
        seen = (*seen, int(t[0]))
        self.ends[context.prompts] = seen
        return (context, seen), predict(latents, t, context.positive)


@pytest.mark.parametrize("name", ["ddim", "heun"])
def test_a_guide_sees_each_step_in_order_and_keeps_its_state_to_the_batch(sd, name):
    guide = Recorder()
    drawn = sample(sd, PROMPTS, SEEDS, sampler=name, steps=4, guide=guide, guidance_scale=3.0, batch=2)
    plain = sample(sd, PROMPTS, SEEDS, sampler=name, steps=4, guidance_scale=1.0, batch=2)
    assert torch.equal(drawn.pixels, plain.pixels)
    expected = (999, 749, 499, 249) if name == "ddim" else (999, 749, 749, 499, 499, 249, 249)
    assert guide.ends == {("a red cat", "dog"): expected, ("red",): expected}
    context = guide.contexts[0]
    assert (context.timesteps, context.scale, context.model) == ((999, 749, 499, 249), 3, sd)
    assert len(context.positive) == len(context.negative) == 2


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_classifier_free_guidance_by_hand(sd, scale):
    guide, passes = ClassifierFree(scale), []
    positive, negative = sd.embed(["dog", "cat"]), sd.embed(["", "red"])
    latents, t = torch.randn(2, 4, 8, 8), torch.tensor([500, 500])

    def predict(*args):
        passes.append(len(args[0]))
        return sd.predict(*args)

    state = guide.init(GuideContext(sd, ("dog", "cat"), positive, negative, (500,), scale))
    after, noise = guide.step(state, latents, t, predict)
    with_words, without = sd.predict(latents, t, positive), sd.predict(latents, t, negative)
    assert torch.allclose(noise, without + scale * (with_words - without), atol=1e-5)
    assert after is state
    assert passes == ([2] if scale == 1 else [4])


@pytest.mark.parametrize("scale", [-1.0, float("nan"), float("inf")])
def test_scales_that_mean_nothing(scale):
    with pytest.raises(ValueError, match="guidance scale must be 0 or more"):
        ClassifierFree(scale)


# Faults


@dataclass(frozen=True)
class Poison:
    """Turns one picture into NaN at the second step."""

    place: int

    def init(self, context):
        return 0

    def step(self, state, latents, t, predict):
        noise = torch.zeros_like(latents)
        if state == 1:
            noise[self.place, 0, 0, 0] = float("nan")
        return state + 1, noise


def test_a_picture_that_turns_into_nan_is_named(sd):
    with pytest.raises(IntaglioError, match=r"seed 6 \('dog'\) turned into NaN or infinity at timestep 749; .*--dtype"):
        sample(sd, PROMPTS, SEEDS, steps=4, guide=Poison(1))


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_found(model, fails):
    model.denoiser.train()
    model.denoiser.requires_grad_(True)
    if fails:
        with pytest.raises(IntaglioError):
            sample(model, PROMPTS, SEEDS, steps=4, guide=Poison(0))
    else:
        assert not sample(model, PROMPTS, SEEDS, steps=2).pixels.requires_grad
    assert all(module.training for module in model.denoiser.modules())
    assert all(weight.requires_grad for weight in model.denoiser.parameters())
    model.denoiser.eval()


def test_batches_come_one_by_one_and_leave_the_caller_its_gradients(sd):
    options = {"sampler": "ddim", "steps": 2, "guidance_scale": 1.0, "negative": ""}
    batches = sample_batches(sd, PROMPTS, SEEDS, **options, batch=2)
    first = next(batches)
    assert torch.is_grad_enabled()
    assert next(sd.denoiser.parameters()).requires_grad
    assert [len(first), *(len(rest) for rest in batches)] == [2, 1]


@pytest.mark.parametrize(("changes", "word"), [({"sampler": "plms"}, "no sampler 'plms'"), ({"batch": 0}, "batch")])
def test_wrong_settings(sd, changes, word):
    with pytest.raises((BadInput, ValueError), match=word):
        sample(sd, ["dog"], [0], **changes)
    with pytest.raises(ValueError, match="a seed for each prompt"):
        sample(sd, ["dog"], [0, 1])


class Counting(Run):
    """Counts what is told of progress."""

    def __init__(self):
        self.total, self.done = 0, 0

    @contextmanager
    def progress(self, total, label, done=0):
        self.total = total
        yield self

    def advance(self, n=1, **numbers):
        self.done += n


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_progress_ends_at_its_total(sd, name):
    run = Counting()
    sample(sd, PROMPTS, SEEDS, sampler=name, steps=3, batch=2, run=run)
    assert run.done == run.total == 9


def test_large_pictures_are_decoded_one_by_one_and_are_what_they_are_together(sd, monkeypatch):
    """Pictures of the tiny model have 16 pixels a side: of 300 pixels one has room, of 1024 four have."""
    asked = {"prompts": ["cat", "dog", "cat", "red", "cat"], "seeds": range(5), "steps": 2}
    together, rows = sample(sd, **asked).pixels, list[int]()
    decode = sd.decode

    def counted(latents, **options):
        rows.append(len(latents))
        return decode(latents, **options)

    monkeypatch.setattr(sd, "decode", counted)
    for room, wanted in ((10, [1] * 5), (300, [1] * 5), (1024, [4, 1])):
        rows.clear()
        monkeypatch.setattr(loop, "DECODED_PIXELS", room)
        assert torch.allclose(sample(sd, **asked).pixels, together, atol=1e-5)
        assert rows == wanted


def test_a_batch_of_small_pictures_is_decoded_at_once_and_large_ones_are_not(sd):
    """A latent cell of the tiny model is 2 pixels a side."""
    rooms = [loop.decoded_at_once(sd, torch.zeros(1, 4, side, side)) for side in (32, 128, 256, 512)]
    assert rooms == [64, 4, 1, 1]
