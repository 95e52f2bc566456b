import pytest
import torch

from intaglio.audit.unlearning.concept import Concept
from intaglio.audit.unlearning.methods.ascent import GradientAscent
from intaglio.audit.unlearning.methods.retain import RetainTuning
from unlearning_scenes import LinearLesson, latents

SMALL = {"steps": 3, "batch": 2, "own": 1, "own_steps": 2}
BAD = {"own": 0}
PIECES = {"micro_batch": 1}


def test_it_climbs_the_loss_that_tuning_on_the_rest_descends():
    """On the same pictures under the same words the gradients are each other's negatives."""
    found = []
    for method, part in ((GradientAscent(), "concept"), (RetainTuning(), "keep")):
        scene = LinearLesson(Concept(("dog",)), {part: latents(["dog"])})
        student = scene.lesson.student

        def error(x, noise, t, text, student=student):
            return (student.predict(x, t, text) - noise).square().flatten(1).mean(1)

        student.error = error
        loss = method.objective(scene.lesson)(0).value
        found.append((loss, scene.weights.grad))
    (up, climbing), (down, descending) = found
    assert up == pytest.approx(-down)
    assert down > 0
    torch.testing.assert_close(climbing, -descending)
