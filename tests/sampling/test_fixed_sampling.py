from dataclasses import replace

import pytest
import torch

import tiny
from intaglio.cli import main
from intaglio.distill.guidance_input import with_guidance_input
from intaglio.errors import BadInput
from intaglio.models.diffusion.baked_sampling import BakedSampling
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.fixed_sampling import Settled, own_method, sampling_grid, settled
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.loop import latent_batches
from intaglio.sampling.methods.loopfree import Loopfree
from intaglio.sampling.methods.perp_neg import PerpNeg
from intaglio.sampling.methods.plain import Plain
from intaglio.sampling.start import UnitNoise

STEPS = BakedSampling((900, 400, 100), "ddim", "baked", (3.0, 3.0))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("models") / "base"))


@pytest.fixture
def student(base):
    return base.made_for(STEPS, base.denoiser, "student")


def latents(model, steps=3, scale=3.0, sampler="ddim", negative="", **options):
    about = {"steps": steps, "guidance_scale": scale, "sampler": sampler, "negative": negative}
    return torch.cat(list(latent_batches(model, ["dog"], [7], **about, **options)))


def test_what_is_not_given_is_what_the_model_was_made_for(base, student):
    assert settled(student, None, None, None) == Settled(3, "ddim", 3.0)
    assert settled(base, None, None, None) == Settled(30, "ddim", 5.0)
    assert settled(student, 7, "heun", 1.0) == Settled(7, "heun", 1.0)
    wide = base.made_for(BakedSampling(guidance="baked", scales=(6.0, 9.0)), base.denoiser, "wide")
    assert settled(wide, None, None, None).scale == 6.0


def test_the_walk_is_over_its_timesteps_with_one_prediction_each(base, student):
    """DDIM written out on the timesteps of the file."""
    asked, predict = [], student.predict
    student.predict = lambda x, t, given: asked.append((len(x), int(t[0]))) or predict(x, t, given)
    found = latents(student)
    assert asked == [(1, 900), (1, 400), (1, 100)]
    x = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(7))[None]
    given, schedule = base.embed(["dog"]), base.schedule
    for here, there in ((900, 400), (400, 100), (100, None)):
        s, n = schedule.signals[here].item(), schedule.noises[here].item()
        s2, n2 = (1.0, 0.0) if there is None else (schedule.signals[there].item(), schedule.noises[there].item())
        noise = base.predict(x, torch.tensor([here]), given)
        x = s2 * (x - n * noise) / s + n2 * noise
    assert torch.allclose(found, x, atol=1e-3)


def test_a_model_that_takes_the_scale_is_asked_once_under_it(base):
    """By the network itself, whose layer for the scale is drawn at random."""
    student = with_guidance_input(base, (1.0, 8.0), "student")
    torch.nn.init.normal_(student.denoiser.time_embedding.cond_proj.weight, generator=torch.Generator().manual_seed(0))
    asked, predict = [], student.predict
    student.predict = lambda x, t, given: asked.append(given.guidance.tolist()) or predict(x, t, given)
    found = {scale: latents(student, steps=1, scale=scale) for scale in (2.0, 7.0)}
    assert asked == [[2.0], [7.0]]
    x = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(7))[None]
    s, n = base.schedule.signals[999].item(), base.schedule.noises[999].item()
    for scale, latent in found.items():
        noise = predict(x, torch.tensor([999]), base.embed(["dog"]).under(scale))
        assert torch.allclose(latent, (x - n * noise) / s, rtol=1e-3, atol=1e-3)
    assert (found[2.0] - found[7.0]).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"steps": 4}, "3 steps, not 4; leave --steps out"),
        ({"sampler": "ddpm"}, "sampler ddim; leave --sampler out"),
        ({"scale": 5.0}, "guidance 3, not 5"),
        ({"negative": "cat"}, "leave --negative out"),
        ({"start": UnitNoise(first=700)}, "begin at timestep 900"),
        ({"method": PerpNeg()}, "draw with plain"),
        ({"until": 300}, "to the clean end"),
    ],
)
def test_a_contradiction_is_refused_by_name(student, asked, told):
    with pytest.raises(BadInput, match=told) as caught:
        latents(student, **asked)
    assert "student" in str(caught.value)


def test_a_range_of_scales_is_told(base):
    wide = base.made_for(BakedSampling(guidance="baked", scales=(2.0, 9.0)), base.denoiser, "wide")
    with pytest.raises(BadInput, match="guidance from 2 to 9, not 1"):
        latents(wide, scale=1.0)


def test_the_grid_of_a_free_model_is_the_usual_one(base, student):
    assert [level.t for level in sampling_grid(base, 2)] == [999, 499, -1]
    assert [level.t for level in sampling_grid(student, 3)] == [900, 400, 100, -1]


def test_a_model_that_was_made_for_a_method_is_drawn_by_it_alone(base):
    """Also by no guide, by no method, and by none that is not here."""
    sampling = replace(STEPS, method="loopfree")
    student = base.made_for(sampling, base.denoiser, "student")
    assert own_method(student) == Loopfree()
    assert own_method(base) is None
    assert latents(student, method=Loopfree()).isfinite().all()
    for way in ({}, {"method": Plain()}, {"method": PerpNeg()}, {"guide": ClassifierFree(3.0)}):
        with pytest.raises(BadInput, match="for the method loopfree; draw with it: intaglio sample loopfree --model"):
            latents(student, **way)
    elsewhere = base.made_for(replace(sampling, method="of-tomorrow"), base.denoiser, "student")
    for ask in (lambda: own_method(elsewhere), lambda: latents(elsewhere)):
        with pytest.raises(BadInput, match="of-tomorrow; it is not here: take the version"):
            ask()


def test_the_command_names_the_method_that_a_model_was_made_for(base, tmp_path, capsys):
    base.made_for(replace(STEPS, method="loopfree"), base.denoiser, "student").save(tmp_path / "student")
    words = ["--model", str(tmp_path / "student"), "--prompt", "dog", "--out", str(tmp_path / "out")]
    assert main(["sample", *words]) == 2
    assert "intaglio sample loopfree --model" in capsys.readouterr().err
    assert main(["sample", "loopfree", *words]) == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 1
    (picture,) = (tmp_path / "out").glob("*.png")
    assert main(["sample", "--replay", str(picture), "--out", str(tmp_path / "again")]) == 0
