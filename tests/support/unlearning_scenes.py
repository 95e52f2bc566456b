"""Tiny scenes of unlearning: a model, and one whose predictions are linear in its weights."""

import torch

from audit_scenes import model
from intaglio.audit.unlearning.concept import Concept
from intaglio.audit.unlearning.tuning import UnlearningLesson, embedded
from intaglio.runs.run import Run
from intaglio.sampling.trained.captioned_latents import CaptionedLatents

SHAPE = (4, 8, 8)


def latents(captions, seed=0) -> CaptionedLatents:
    drawn = torch.randn(len(captions), *SHAPE, generator=torch.Generator().manual_seed(seed))
    return CaptionedLatents(drawn, tuple(captions))


def given(method, concept: Concept) -> tuple[Concept, dict[str, CaptionedLatents]]:
    """What a method is asked to unlearn: the concept, or pictures where it forgets these."""
    if method.forgets == "pictures":
        return Concept(()), {"forget": latents(["red cat"]), "retain": latents(["dog", "a dog"], seed=1)}
    return concept, {}


class LinearLesson:
    """A lesson whose two networks predict `mean text state @ weights`, whatever the latents; the weights are [d, chw].

    `given` are the model's own, `weights` the student's, which begin as these.
    """

    def __init__(self, concept: Concept, sets=None, seed: int = 0):
        self.net, student = model(seed), model(seed)
        self.texts = embedded(self.net, ["", *concept.prompts, *concept.anchors, *concept.keep])
        width = self.texts[""].hidden.shape[-1]
        drawn = torch.randn(width, 4 * 8 * 8, generator=torch.Generator().manual_seed(seed))
        self.given, self.weights = drawn, drawn.clone().requires_grad_()
        self.net.predict = lambda x, t, text: self._said(text, self.given, len(x))
        student.predict = lambda x, t, text: self._said(text, self.weights, len(x))
        self.lesson = UnlearningLesson(
            self.net, student, {"weights": self.weights}, concept, sets or {}, self.texts, Run.none()
        )

    def _said(self, text, weights, rows):
        return (text.hidden.mean(1) @ weights).view(-1, *SHAPE).expand(rows, *SHAPE)

    def said(self, prompt: str, weights=None) -> torch.Tensor:
        """A prediction under a prompt, by the student's weights or by others."""
        return self.texts[prompt].hidden.mean(1)[0] @ (self.weights.detach() if weights is None else weights)

    def step_to_the_least(self, objective, prompt: str, at: int = 0) -> float:
        """One step of gradient descent whose length ends at the least squares of a mean over the numbers."""
        loss = objective(at).value
        reach = self.texts[prompt].hidden.mean(1).square().sum()
        with torch.no_grad():
            self.weights -= self.weights.grad * self.weights.shape[1] / (2 * reach)
        self.weights.grad = None
        return loss
