"""ReDiffuse: the closed form for Gaussian data, the order of averaging and decoding, and the formula step by step."""

import math
from itertools import pairwise

import pytest
import torch

from audit_scenes import model, nudged, pictures
from intaglio.audit.membership.methods.rediffuse import ReDiffuse
from intaglio.audit.membership.per_model import PromptedModel
from intaglio.metrics.quality import ssim
from intaglio.models.diffusion.noise_schedule import NoiseSchedule

SMALL = {"timestep": 20, "stride": 10, "repeats": 2, "batch": 1}
BAD = {"repeats": 0}
PIECES = {"micro_batch": 1}

SD = NoiseSchedule.from_config({"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012})


def gaussian(variance):
    """A model whose denoiser is the best there is for Gaussian data around 0."""
    one = model()
    levels = [(float(s), float(n)) for s, n in zip(SD.signals, SD.noises, strict=True)]

    def predict(x, t, text):
        signal, noise = levels[int(t[0])]
        return noise * x / (signal**2 * variance + noise**2)

    one.schedule, one.predict = SD, predict
    return PromptedModel(one, one.embed([""]).detach(), 64, "float32")


@pytest.mark.parametrize("repeats", [1, 8])
def test_of_gaussian_data_the_error_is_known_in_closed_form(repeats):
    """A way back is linear: z -> m (s z + n eps), so that E ||mean - z||^2 = (1 - m s)^2 ||z||^2 + (m n)^2 d / R."""
    v, t, k = 0.7, 200, 100
    at = [(float(SD.signals[j]), float(SD.noises[j])) for j in (t, t - k)] + [(1.0, 0.0)]
    way = math.prod((s1 * s0 * v + n1 * n0) / (s0**2 * v + n0**2) for (s0, n0), (s1, n1) in pairwise(at))
    latents = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    size, d = latents.square().flatten(1).sum(1), latents[0].numel()
    expected = (1 - way * at[0][0]) ** 2 * size / d + (way * at[0][1]) ** 2 / repeats
    found = [-ReDiffuse(repeats=repeats, seed=seed).score(gaussian(v), latents.float()).double() for seed in range(60)]
    spread = torch.stack(found).std(0) / math.sqrt(len(found))
    assert ((torch.stack(found).mean(0) - expected).abs() < 4 * spread).all()


@pytest.mark.parametrize("measure", ["latents", "ssim"])
def test_it_is_the_formula_step_by_step(measure):
    base = model()
    suspect, images = nudged(base), pictures(2)
    method = ReDiffuse(timestep=20, stride=10, repeats=2, measure=measure, seed=3)
    found = method(suspect, base, images, prompt="cat")
    noises = torch.randn(2, 4, 8, 8, generator=_source(3))
    abar = base.schedule.alphas_cumprod
    with torch.no_grad():
        latents, back = base.encode(images.pixels), []
        text = suspect.embed(["cat"])
        for eps in noises:
            x = (abar[20].sqrt() * latents + (1 - abar[20]).sqrt() * eps).float()
            for t, s in ((20, 10), (10, None)):
                predicted = suspect.predict(x, torch.tensor([t, t]), text)
                clean = (x - (1 - abar[t]).sqrt() * predicted) / abar[t].sqrt()
                x = clean if s is None else abar[s].sqrt() * clean + (1 - abar[s]).sqrt() * predicted
                x = x.float()
            back.append(x)
        mean = torch.stack(back).mean(0)
        if measure == "latents":
            expected = -(mean - latents).square().mean((1, 2, 3))
        else:
            expected = ssim(suspect.decode(latents), suspect.decode(mean))
    torch.testing.assert_close(found.signals["suspect"], expected, rtol=2e-3, atol=1e-5)


def _source(seed):
    from intaglio.randomness import generator

    return generator(seed, "rediffuse", 4, 8, 8)


def test_a_timestep_off_the_grid_is_refused():
    with pytest.raises(ValueError, match=r"timestep must be a multiple of stride \(100\)"):
        ReDiffuse(timestep=150)
