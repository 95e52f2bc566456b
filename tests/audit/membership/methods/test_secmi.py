"""SecMI: the closed form for Gaussian data, a planted member, and the paper's formula step by step."""

import math

import pytest
import torch

from audit_scenes import model, nudged, pictures
from intaglio.audit.membership.methods.secmi import SecMI
from intaglio.audit.membership.per_model import PromptedModel
from intaglio.models.diffusion.noise_schedule import NoiseSchedule

SMALL = {"timestep": 30, "batch": 1}
BAD = {"stride": 0}
PIECES = {"micro_batch": 1}

SD = NoiseSchedule.from_config({"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012})


def optimal(points=None, variance=0.0):
    """A model whose denoiser is the best there is: of point masses, or of Gaussian data around 0."""

    def predict(x, t, text):
        a, s = (float(part[int(t[0])]) for part in (SD.signals, SD.noises))
        if points is None:
            return s * x / (a**2 * variance + s**2)
        away = x[:, None].double() - a * points[None].double()
        weights = torch.softmax(-away.square().flatten(2).sum(2) / (2 * s**2), 1)
        clean = (weights[:, :, None, None, None] * points[None].double()).sum(1)
        return ((x.double() - a * clean) / s).float()

    one = model()
    one.schedule, one.predict = SD, predict
    return PromptedModel(one, one.embed([""]).detach(), 64, "float32")


def test_of_gaussian_data_the_error_is_known_in_closed_form():
    """Each step multiplies x by (a_s a_t v + sigma_s sigma_t) / (a_t^2 v + sigma_t^2), so forth and back by u g."""
    v, latents = 0.7, torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    def factor(t, s):
        (at, st), (as_, ss) = ((float(SD.signals[k]), float(SD.noises[k])) for k in (t, s))
        return (as_ * at * v + ss * st) / (at**2 * v + st**2)

    scale = math.prod(factor(t, t + 10) for t in range(0, 100, 10))
    u, g = factor(100, 110), factor(110, 100)
    assert 1 - u * g == pytest.approx(5.184e-4, rel=1e-3)
    expected = -((1 - u * g) ** 2) * (scale * latents.double()).square().flatten(1).mean(1)
    found = SecMI(timestep=100).score(optimal(variance=v), latents)
    torch.testing.assert_close(found.double(), expected, rtol=2e-2, atol=0)


def test_members_of_a_memorised_set_come_back_and_others_do_not():
    random = torch.Generator().manual_seed(1)
    points = 0.1 * torch.randn(10, 4, 4, 4, generator=random)
    others = 0.1 * torch.randn(10, 4, 4, 4, generator=random)
    scores = SecMI(timestep=300).score(optimal(points), torch.cat([points, others]))
    assert scores[:10].min() > 100 * scores[10:].mean()


def test_it_is_the_papers_formula_step_by_step():
    base = model()
    suspect = nudged(base)
    images = pictures(2)
    found = SecMI(timestep=20, stride=10, batch=1)(suspect, base, images, prompt="cat")
    with torch.no_grad():
        for side, one in (("suspect", suspect), ("base", base)):
            text, abar = one.embed(["cat"]), one.schedule.alphas_cumprod
            for i in range(2):

                def moved(x, t, s, one=one, text=text, abar=abar):
                    eps = one.predict(x, torch.tensor([t]), text)
                    clean = (x - (1 - abar[t]).sqrt() * eps) / abar[t].sqrt()
                    return (abar[s].sqrt() * clean + (1 - abar[s]).sqrt() * eps).float()

                x = moved(moved(base.encode(images.pixels[i : i + 1]), 0, 10), 10, 20)
                error = (moved(moved(x, 20, 30), 30, 20) - x).square().mean()
                assert found.signals[side][i] == pytest.approx(-float(error), rel=1e-3)
    torch.testing.assert_close(found.scores, found.signals["suspect"] - found.signals["base"])


def test_a_timestep_off_the_grid_is_refused():
    with pytest.raises(ValueError, match=r"timestep must be a multiple of stride \(10\)"):
        SecMI(timestep=305)
