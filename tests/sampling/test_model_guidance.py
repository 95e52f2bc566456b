import pytest
import torch

import tiny
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.guide import GuideContext
from intaglio.sampling.guides.model_guidance import ModelGuidance
from intaglio.sampling.loop import sample

T = torch.tensor([700, 300])


def made(folder, prediction: str = "epsilon") -> tuple[LatentDiffusion, LatentDiffusion]:
    """A base, and a fine-tune with other weights in the denoiser and the text encoder."""
    base = load_model(tiny.sd_folder(folder / prediction, prediction=prediction))
    tuned = base.copy()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name in ("denoiser", "text_encoder"):
            for weight in tuned.parts[name].parameters():
                weight += 0.05 * torch.randn(weight.shape, generator=generator)
    return base, tuned


@pytest.fixture(scope="module", params=["epsilon", "v_prediction"])
def pair(request, tmp_path_factory):
    return made(tmp_path_factory.mktemp("pair"), request.param)


@pytest.fixture(scope="module")
def latents():
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def guided(guide: ModelGuidance, tuned: LatentDiffusion, latents: torch.Tensor, prompt: str) -> torch.Tensor:
    with torch.no_grad():
        blank, words = tuned.embed([""])[[0, 0]], tuned.embed([prompt, prompt])
        context = GuideContext(tuned, (prompt, prompt), words, blank, (700, 300), 1.0)
        return guide.step(guide.init(context), latents, T, tuned.predict)[1]


def noise(model: LatentDiffusion, latents: torch.Tensor, prompt: str) -> torch.Tensor:
    with torch.no_grad():
        return model.predict(latents, T, model.embed([prompt, prompt]))


@pytest.mark.parametrize(
    ("reference", "correction", "asked"),
    [
        ("empty", 0.0, ("", "cat")),
        ("empty", -0.02, ("", "cat")),
        ("prompt", 0.0, ("cat", "cat")),
        ("uncaptioned", 0.0, ("", "")),
    ],
)
def test_it_is_the_extrapolation_past_the_tuned_model_in_noise(pair, latents, reference, correction, asked):
    base, tuned = pair
    guide = ModelGuidance(base, 3.0, correction, reference)
    of_base, of_tuned = noise(base, latents, asked[0]), noise(tuned, latents, asked[1])
    expected = of_base + 3.0 * (of_tuned - of_base) + correction * of_base
    torch.testing.assert_close(guided(guide, tuned, latents, "cat"), expected, rtol=1e-4, atol=1e-5)


def test_a_tuned_model_that_is_the_base_leaves_one_and_the_correction(pair, latents):
    base, _ = pair
    found = guided(ModelGuidance(base, 4.0, -0.02), base, latents, "")
    torch.testing.assert_close(found, 0.98 * noise(base, latents, ""), rtol=1e-4, atol=1e-5)


def test_scale_one_is_the_tuned_model_alone_and_asks_no_base(pair, monkeypatch):
    base, tuned = pair
    plain = sample(tuned, ["cat"], [5], steps=3, guidance_scale=1.0)
    monkeypatch.setattr(base, "predict", lambda *_: pytest.fail("the base was asked"))
    found = sample(tuned, ["cat"], [5], steps=3, guide=ModelGuidance(base, 1.0))
    assert torch.equal(found.pixels, plain.pixels)


def test_pictures_do_not_depend_on_the_batch(pair):
    base, tuned = pair
    guide = ModelGuidance(base, 3.0)
    together = sample(tuned, ["cat"] * 3, [1, 2, 3], steps=3, guide=guide, batch=3)
    apart = sample(tuned, ["cat"] * 3, [1, 2, 3], steps=3, guide=guide, batch=1)
    torch.testing.assert_close(together.pixels, apart.pixels, atol=2e-2, rtol=0)


def test_scores_of_a_geometric_mixture_lead_back_to_the_data():
    """log of the tuned density is (1 - share) log N(0, 1) + share log N(3, 1/4), up to a constant."""
    x = torch.linspace(-4, 6, 41, dtype=torch.float64)
    share = 0.4
    of_base, of_data = -x, -(x - 3) / 0.25
    of_tuned = (1 - share) * of_base + share * of_data
    scale = 1 / share
    torch.testing.assert_close((1 - scale) * of_base + scale * of_tuned, of_data, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"scale": 0.5}, "must be finite and 1 or more, not 0.5"),
        ({"correction": 1.5}, "between -1 and 1"),
        ({"correction": 0.1, "reference": "prompt"}, "belongs to the reference empty"),
    ],
)
def test_wrong_settings_are_refused(pair, settings, says):
    with pytest.raises(ValueError, match=says):
        ModelGuidance(pair[0], **settings)
