"""Judges of pictures: a score of the concept, with a threshold that few pictures of something else exceed."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intaglio.audit.unlearning.prompt_evidence import prompt_evidence
from intaglio.errors import BadInput
from intaglio.metrics.statistics.conformal import threshold, too_few
from intaglio.models.classifiers import PictureClassifier
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.sampling.trained.own_latents import own_latents

STATE = "controls"
"""State of the run that keeps the pictures of the anchors."""
AT_ONCE = 8
"""Pictures that are drawn and scored together."""


@runtime_checkable
class PictureScore(Protocol):
    """A number of each picture, the higher the more it shows the concept."""

    @property
    def said(self) -> str:
        """The number in words, as the beginning of a sentence."""
        ...

    def __call__(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n"]:
        """The numbers of pictures in [0, 1], on the CPU."""
        ...


@dataclass(frozen=True, eq=False)
class EvidenceScore:
    """The evidence L(x, "") - L(x, c) of a picture x, denoising losses of the model that knew the concept.

    c are the concept's words; timesteps and noises are shared by all pictures.
    """

    original: LatentDiffusion
    words: str
    """c."""
    seed: int
    """Of timesteps and noises."""

    @property
    def said(self) -> str:
        """The number in words."""
        return f"the original model's evidence of “{self.words}” in a picture"

    def __call__(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n"]:
        """The evidence of each picture."""
        with torch.no_grad(), self.original.frozen():
            latents = self.original.encode(pixels.to(self.original.device)).float().cpu()
        words, none = [self.words] * len(latents), [""] * len(latents)
        return prompt_evidence(self.original, latents, words, none, seed=self.seed).evidence


@dataclass(frozen=True, eq=False)
class ClassifierScore:
    """The log-odds of one class of a classifier's head, that class against all others."""

    classifier: PictureClassifier
    head: str
    label: str
    """The class."""

    def __post_init__(self) -> None:
        known = self.classifier.classes.get(self.head)
        if known is None:
            heads = ", ".join(self.classifier.classes)
            raise BadInput(f"the classifier has no head {self.head!r}; choose one of: {heads}")
        if self.label not in known:
            raise BadInput(f"{self.head} has no class {self.label!r}; choose one of: {', '.join(known)}")

    @property
    def said(self) -> str:
        """The number in words."""
        return f"the classifier's log-odds of {self.head} “{self.label}”"

    @torch.no_grad()
    def __call__(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n"]:
        """The log-odds of each picture."""
        device = next(self.classifier.parameters()).device
        logits = self.classifier.logits(pixels.to(device), self.head).cpu()
        place = self.classifier.classes[self.head].index(self.label)
        others = torch.cat([logits[:, :place], logits[:, place + 1 :]], dim=1)
        return logits[:, place] - others.logsumexp(1)


@dataclass(frozen=True, eq=False)
class CalibratedJudge:
    """Shows the concept: the score of a picture is above the threshold."""

    score: PictureScore
    value: float
    """The threshold."""
    statement: str
    """How it was calibrated, in a sentence."""

    def __call__(self, pixels: Float[Tensor, "n 3 h w"]) -> Bool[Tensor, "n"]:
        """Whether each of some pictures in [0, 1] shows the concept."""
        return self.score(pixels) > self.value


def calibrated_judge(
    score: PictureScore,
    original: LatentDiffusion,
    anchors: tuple[str, ...],
    *,
    fpr: float,
    controls: int,
    steps: int,
    scale: float,
    seed: int,
    run: Run = Run.none(),
) -> CalibratedJudge:
    """The judge whose threshold at most a share `fpr` of the anchors' pictures exceeds.

    Args:
        score: of the concept.
        original: the model that knew it; left as it was found.
        anchors: prompts of what is not the concept, one or more; the empty one is a picture of no prompt.
        fpr: false-positive rate, in (0, 1).
        controls: pictures that the original draws of the anchors in turn.
        steps: of DDIM of these.
        scale: guidance scale of these.
        seed: of these.
        run: keeps the controls that are drawn.

    Raises:
        BadInput: for too few controls for the rate.
    """
    options = {"steps": steps, "scale": scale, "batch": AT_ONCE, "seed": seed}
    drawn = own_latents(original, anchors, controls, **options, run=run, name=STATE)
    scores = torch.cat([score(decoded(original, some)) for some in drawn.split(AT_ONCE)])
    found = threshold(scores.double().numpy(), fpr)
    if found.value is None:
        raise BadInput(f"{too_few(controls, fpr)}; give more --controls")
    said = (
        f"{score.said}, above {found.value:.3g}, which {found.observed} of {controls} of the original's pictures of "
        f"the anchors exceed (asked: {fpr:.0%})"
    )
    return CalibratedJudge(score, found.value, said)


def decoded(model: LatentDiffusion, latents: Float[Tensor, "n c hl wl"]) -> Float[Tensor, "n 3 h w"]:
    """Pictures of clean latents, on the CPU."""
    with torch.no_grad(), model.frozen():
        return model.decode(latents.to(model.device)).float().cpu()
