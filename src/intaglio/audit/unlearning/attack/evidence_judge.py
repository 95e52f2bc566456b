"""A judge of pictures without a classifier: the original model's evidence of the concept's words in them."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intaglio.audit.unlearning.prompt_evidence import prompt_evidence
from intaglio.errors import BadInput
from intaglio.metrics.statistics.conformal import threshold, too_few
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.sampling.trained.own_latents import own_latents

STATE = "controls"
"""State of the run that keeps the pictures of the anchors."""


@dataclass(frozen=True, eq=False)
class EvidenceJudge:
    """Shows the concept: the original's evidence of its words is above a threshold, calibrated on anchors' pictures.

    The evidence of a picture x is L(x, "") - L(x, c), denoising losses of the original model without and with the
    concept's words c, at timesteps and noises that all pictures share.
    """

    original: LatentDiffusion
    words: str
    """c."""
    seed: int
    """Of timesteps and noises."""
    value: float
    """The threshold."""
    statement: str
    """How it was calibrated, in a sentence."""

    def __call__(self, pixels: Float[Tensor, "n 3 h w"]) -> Bool[Tensor, "n"]:
        """Whether each of some pictures in [0, 1] shows the concept."""
        with torch.no_grad(), self.original.frozen():
            latents = self.original.encode(pixels.to(self.original.device)).float().cpu()
        return evidence_of(self.original, latents, self.words, self.seed) > self.value


def evidence_of(
    original: LatentDiffusion, latents: Float[Tensor, "n c h w"], words: str, seed: int
) -> Float[Tensor, "n"]:
    """The evidence of the concept's words in clean latents."""
    return prompt_evidence(original, latents, [words] * len(latents), [""] * len(latents), seed=seed).evidence


def calibrated_judge(
    original: LatentDiffusion,
    words: str,
    anchors: tuple[str, ...],
    *,
    fpr: float,
    controls: int,
    steps: int,
    scale: float,
    seed: int,
    run: Run = Run.none(),
) -> EvidenceJudge:
    """The judge whose threshold at most a share `fpr` of the anchors' pictures exceeds.

    Args:
        original: the model that knew the concept; left as it was found.
        words: of the concept.
        anchors: prompts of what is not the concept, one or more; the empty one is a picture of no prompt.
        fpr: false-positive rate, in (0, 1).
        controls: pictures that the original draws of the anchors in turn.
        steps: of DDIM of these.
        scale: guidance scale of these.
        seed: of these, and of the noise they are judged at.
        run: keeps the controls that are drawn.

    Raises:
        BadInput: for too few controls for the rate.
    """
    drawn = own_latents(original, anchors, controls, steps=steps, scale=scale, batch=8, seed=seed, run=run, name=STATE)
    found = threshold(evidence_of(original, drawn, words, seed).double().numpy(), fpr)
    if found.value is None:
        raise BadInput(f"{too_few(controls, fpr)}; give more --controls")
    said = (
        f"the original model's evidence of “{words}” in a picture, above {found.value:.3g}, which {found.observed} of "
        f"{controls} of its pictures of the anchors exceed (asked: {fpr:.0%})"
    )
    return EvidenceJudge(original, words, seed, found.value, said)
