import pytest
import torch

from audit_scenes import model
from intaglio.audit.unlearning.concept import Concept
from intaglio.audit.unlearning.methods.ablate import ConceptAblation
from unlearning_scenes import LinearLesson, latents

SMALL = {"steps": 3, "batch": 2, "own": 1, "own_steps": 2, "learning_rate": 1e-3}
BAD = {"prior_weight": -1.0}
PIECES = {"micro_batch": 1}
VARIANTS = {"noise": {"SMALL": {"target": "noise"}, "BAD": {"own_steps": 0}, "PIECES": {"micro_batch": 1}}}


def scene(prompt="red dog", anchor="cat"):
    return LinearLesson(Concept((prompt,), (anchor,)), {"anchor": latents([anchor] * 3)})


@pytest.mark.parametrize("teacher", ["frozen", "moving"])
def test_the_fixed_point_is_the_prediction_under_the_anchor(teacher):
    one = scene()
    objective = ConceptAblation(teacher=teacher, prior_weight=0.0).objective(one.lesson)
    assert one.step_to_the_least(objective, "red dog") > 0.01
    torch.testing.assert_close(one.said("red dog"), one.said("cat", one.given), rtol=1e-4, atol=1e-4)
    # The step moved what the student says under the anchor too, which is the target of the moving teacher alone.
    assert float((one.said("cat") - one.said("cat", one.given)).abs().max()) > 0.01
    assert (objective(1).value < 1e-8) == (teacher == "frozen")


def test_nothing_is_left_to_learn_where_the_prompt_is_the_anchor():
    one = scene("cat", "cat")
    assert ConceptAblation(prior_weight=0.0).objective(one.lesson)(0).value == 0


def test_the_prior_is_the_denoising_loss_under_the_anchor_and_the_noise_target_that_under_the_prompt(monkeypatch):
    one = scene()
    told, student = [], one.lesson.student

    def error(x, noise, t, text):
        told.append(text.hidden)
        return student.predict(x, t, text).square().flatten(1).mean(1)

    monkeypatch.setattr(student, "error", error)
    loss = ConceptAblation(prior_weight=3.0).objective(one.lesson)(0).value
    gap = (one.said("red dog", one.given) - one.said("cat", one.given)).square().mean()
    assert loss == pytest.approx(float(gap + 3 * one.said("cat", one.given).square().mean()), rel=1e-4)
    assert torch.equal(told[0], one.lesson.text(["cat"] * 4).hidden)
    loss = ConceptAblation(prior_weight=0.0, target="noise").objective(one.lesson)(0).value
    assert loss == pytest.approx(float(one.said("red dog", one.given).square().mean()), rel=1e-4)


def test_prompts_of_one_anchor_take_turns():
    net = model()
    found = ConceptAblation(**SMALL)(net, Concept(("red", "dog"), ("cat",)))
    assert found.record.concept.pairs == [("red", "cat"), ("dog", "cat")]
