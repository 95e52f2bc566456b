"""GSA: the gradient of a one-weight model by hand, planted features, blocks, and what shadows it refuses."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from audit_scenes import model, nudged, pictures, shadows
from intaglio.audit.membership.methods import gsa
from intaglio.audit.membership.methods.gsa import GSA, by_block, log_odds
from intaglio.audit.membership.per_model import PromptedModel
from intaglio.errors import BadInput
from intaglio.metrics.statistics.roc import row_aucs
from intaglio.models.diffusion.conditioning import Conditioning

SMALL = {"levels": 2, "batch": 1}
BAD = {"levels": 0}
PIECES = {"micro_batch": 1}
VARIANTS = {"each": {"SMALL": {"aggregate": "mean-norm"}, "BAD": {"levels": 0}, "PIECES": {}}}


class Scaled(torch.nn.Module):
    """eps_theta(x) = w x, with a second weight that nothing depends on."""

    def __init__(self, w: float):
        super().__init__()
        self.w, self.idle = (torch.nn.Parameter(torch.tensor(value)) for value in (w, 1.0))

    def forward(self, x):
        return self.w * x


@pytest.mark.parametrize("aggregate", ["mean-loss", "mean-norm"])
@pytest.mark.parametrize("at_once", [1, 64])
def test_of_one_weight_the_gradient_is_known(aggregate, at_once):
    """d/dw of mean (eps - w x)^2 is -(2/d) x (eps - w x), whose norm is its absolute value."""
    one, w = model(), 0.3
    one.denoiser = Scaled(w)
    one.error = lambda z, eps, t, text: (eps - one.denoiser(one.noised(z, eps, t))).square().flatten(1).mean(1)
    method = GSA(levels=3, timesteps=(100, 700), aggregate=aggregate, seed=4)
    prompted = PromptedModel(one, Conditioning(torch.zeros(1, 1, 1)), at_once, "float32", ("",))
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    found = method.numbers(prompted, latents)
    assert set(found) == {"w", "idle"}
    noise = gsa.standard_normal(3, (4, 16, 16), gsa.generator(4, "gradient samples", 4, 16, 16))
    for place, z in enumerate(latents):
        slopes = []
        for t, eps in zip((100, 400, 700), noise, strict=True):
            x = one.schedule.signals[t] * z + one.schedule.noises[t] * eps
            slopes.append(float((-2 * x * (eps - w * x)).mean()))
        expected = abs(np.mean(slopes)) if aggregate == "mean-loss" else np.mean(np.abs(slopes))
        assert float(found["w"][place]) == pytest.approx(np.log(expected), abs=1e-4)
        assert float(found["idle"][place]) == pytest.approx(np.log(gsa.LEAST_NORM))
    assert one.denoiser.w.grad is None


@pytest.mark.parametrize("shift", [1.0, 2.0])
def test_of_normal_features_the_area_is_that_of_theory(shift):
    """One of three features is shifted for members: area Phi(shift / sqrt 2), whatever the suspect's own mean is."""
    source = np.random.default_rng(0)
    kept = source.random((5, 3000)) < 0.5
    rows = source.normal(size=(5, 3000, 3))
    rows[..., 1] += shift * kept
    rows = 5 + 0.01 * rows  # scales mean nothing
    odds, _, weights = log_odds(rows[0], rows[1:, :200], kept[1:, :200])
    assert row_aucs(odds[kept[0]][None], odds[~kept[0]][None])[0] == pytest.approx(norm.cdf(shift / 2**0.5), abs=0.04)
    assert np.abs(weights).argmax() == 1


def test_the_suspect_is_standardised_by_the_shadows():
    """A suspect tuned on all of the pictures: by its own mean, half of them would seem to be others."""
    source = np.random.default_rng(1)
    kept = np.arange(8)[:, None] % 2 == np.arange(50) % 2
    shadowed = source.normal(size=(8, 50, 1)) + 6 * kept[..., None]
    odds, _, _ = log_odds(source.normal(size=(50, 1)) + 6, shadowed, kept)
    assert (odds > 0).mean() > 0.9


def test_norms_are_pooled_by_block():
    names = {
        "down_blocks.0.resnets.1.conv1.weight": 3.0,
        "down_blocks.0.resnets.1.conv1.bias": 4.0,
        "down_blocks.0.resnets.0.conv1.weight": 2.0,
        "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight": 7.0,
        "transformer_blocks.3.attn.to_q.weight": 1.0,
        "conv_in.weight": 0.0,
    }
    assert {block: round(float(np.exp(value)), 6) for block, value in by_block(names).items()} == {
        "down_blocks.0.resnets.1": 5,
        "down_blocks.0.resnets.0": 2,
        "mid_block.attentions.0": 7,
        "transformer_blocks.3": 1,
        "conv_in": 0,
    }


@pytest.mark.parametrize("all_of_them", [True, False])
def test_members_and_others_are_both_needed(all_of_them, monkeypatch):
    base, images = model(), pictures(2)
    monkeypatch.setattr(GSA, "numbers", lambda *args: pytest.fail("worked"))
    given = shadows(base, pictures(2, seed=9))
    for one in given if all_of_them else ():
        object.__setattr__(one, "members", frozenset(images.hashes))
    with pytest.raises(BadInput, match=f"tuned on {'all' if all_of_them else 'none'} of these pictures"):
        GSA(**SMALL)(nudged(base), base, images, shadows=given)
