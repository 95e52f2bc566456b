import pytest
import torch

from audit_scenes import model
from intaglio.audit.unlearning.concept import Concept
from intaglio.audit.unlearning.methods.salun import SaliencyUnlearning, largest
from intaglio.learning.step_randomness import batch_at, noise_at
from unlearning_scenes import LinearLesson, latents

SMALL = {"steps": 2, "batch": 2, "own": 1, "own_steps": 2, "mask_batches": 2, "learning_rate": 1e-3}
BAD = {"share": 0.0}
PIECES = {"micro_batch": 1}
CONCEPT = Concept(("red dog",), ("cat",), ("dog",))


def sets():
    return {"concept": latents(["red dog"] * 3), "keep": latents(["dog"] * 3, 1)}


def test_the_saliency_is_the_size_of_the_summed_gradient_of_the_guided_loss():
    scene = LinearLesson(CONCEPT, sets())
    w, batches, size = 2.0, 3, 2
    method = SaliencyUnlearning(mask_guidance=w, mask_batches=batches, batch=size)
    found = method._saliency(scene.lesson)
    total = torch.zeros_like(scene.weights)
    words, blank = (scene.texts[one].hidden.mean(1)[0] for one in ("red dog", ""))
    reach = (1 + w) * words - w * blank  # the guided prediction is reach @ weights
    for batch in range(batches):
        assert len(batch_at(range(3), batch, size, 0, "saliency")) == size
        noise = noise_at((size, 4, 8, 8), batch, 1).flatten(1)
        residual = (reach @ scene.given - noise).mean(0)
        total += 2 * torch.outer(reach, residual) / noise.shape[1]
    torch.testing.assert_close(found.view_as(total), total.abs(), rtol=1e-3, atol=1e-5)


def test_the_mask_has_the_largest_share_and_of_equal_ones_the_first():
    assert largest(torch.tensor([0.1, 3.0, 2.0, 2.0, 0.0]), 0.4).tolist() == [False, True, True, False, False]
    assert largest(torch.rand(9), 1.0).all()
    assert largest(torch.rand(9), 0.01).sum() == 1


def test_masked_weights_stay_to_the_bit_and_the_others_are_the_share():
    net = model()
    method = SaliencyUnlearning(**{**SMALL, "share": 0.1})
    found = method(net, CONCEPT)
    before, after = (torch.cat([w.detach().flatten() for w in one.denoiser.parameters()]) for one in (net, found.model))
    moved = before != after
    assert 0.05 < float(moved.double().mean()) <= 0.1 + 1 / len(moved)


def test_the_loss_leads_to_the_anchor_beside_the_weighed_loss_of_the_kept():
    scene = LinearLesson(CONCEPT, sets())
    student = scene.lesson.student
    student.error = lambda x, noise, t, text: student.predict(x, t, text).square().flatten(1).mean(1)
    loss = SaliencyUnlearning(retain_weight=0.3, mask_batches=1).objective(scene.lesson)(0).value
    red, cat, dog = (scene.said(one, scene.given) for one in ("red dog", "cat", "dog"))
    assert loss == pytest.approx(float((red - cat).square().mean() + 0.3 * dog.square().mean()), rel=1e-4)


def test_decay_which_would_change_masked_weights_is_refused():
    with pytest.raises(ValueError, match="weight_decay must be 0"):
        SaliencyUnlearning(weight_decay=0.1)
