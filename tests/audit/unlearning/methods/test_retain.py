import pytest
import torch

from audit_scenes import model
from intaglio.audit.unlearning.concept import Concept
from intaglio.audit.unlearning.methods.retain import RetainTuning
from intaglio.denoising.training_times import training_times
from intaglio.learning.step_randomness import noise_at
from unlearning_scenes import latents

SMALL = {"steps": 3, "batch": 2, "own": 1, "own_steps": 2}
BAD = {"batch": 0}
PIECES = {"micro_batch": 1}


def test_it_lowers_the_denoising_loss_of_the_given_pictures():
    net, given = model(), latents(["dog"])
    found = RetainTuning(steps=30, learning_rate=1e-3, batch=1)(net, Concept(("red",)), retain=given)
    noise, t = noise_at((4, *given.latents.shape[1:]), 99, 0), training_times(net.schedule, 4, 99, 0)
    many = given.latents.expand(4, -1, -1, -1)
    with torch.no_grad():
        text = net.embed(["dog"])
        before, after = (float(one.error(many, noise, t, text).mean()) for one in (net, found.model))
    assert after < 0.95 * before
    assert found.record.facts["last_loss"] == pytest.approx(after, rel=0.5)
