"""Model guidance: extrapolation from a base model past its fine-tune, to draw what it was tuned on."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Real
from torch import Tensor

from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.grid import level_at, timestep_of
from intaglio.sampling.guide import GuideContext, Predict

Reference = Literal["empty", "prompt", "uncaptioned"]
MOST_RATIO = 14.6
"""Noise over signal at the noisy end of Stable Diffusion 1."""


@dataclass(frozen=True)
class ModelGuidance:
    """A guide whose negative branch is the base model in place of the negative prompt.

    A fine-tune is modelled as a geometric mixture: a share 1 / w of the density of its pictures, the rest the base's.
    Solved for the pictures, in noise predictions:

        empty        (1 - w + k) * base(x, "") + w * tuned(x, prompt)        FineXtract
        prompt       (1 - w) * base(x, prompt) + w * tuned(x, prompt)        the same reference for both
        uncaptioned  (1 - w) * base(x, "") + w * tuned(x, "")                where no caption is known

    There is no second guidance on top: the one scale leads towards the prompt and away from the base at once. The model
    that is drawn from is the tuned one; each model encodes a prompt by its own text encoders. Predictions are noise,
    whatever the networks predict, and are combined in float32, since the difference of two near-equal tensors is
    multiplied.

    Source: arXiv 2410.03039; its authors' code takes a scale of 3 and a correction of -0.02 for full fine-tunes, 5 and
    0 for LoRA.
    """

    base: LatentDiffusion
    scale: float = 3.0
    """w, from 1, which is the tuned model alone (up to the correction)."""
    correction: float = 0.0
    """k, near 0, for `empty` alone. The two factors sum to 1 + k, so that every step takes out that much more noise."""
    reference: Reference = "empty"
    """The prompts of the base's and of the tuned model's prediction, as in the table above."""

    def __post_init__(self):
        if not 1 <= self.scale < float("inf"):
            raise ValueError(f"the scale of model guidance must be finite and 1 or more, not {self.scale}")
        if not -1 < self.correction < 1:
            raise ValueError(f"the correction must lie between -1 and 1, near 0, not {self.correction}")
        if self.correction and self.reference != "empty":
            raise ValueError(f"the correction belongs to the reference empty, not to {self.reference}")

    def init(self, context: GuideContext) -> tuple[Conditioning, Conditioning]:
        """The state is the conditioning of the tuned model and that of the base, n rows each."""
        count = len(context.prompts)
        if self.reference == "prompt":
            return context.positive, self.base.embed(list(context.prompts))
        empty = self.base.embed([""])[[0] * count]
        if self.reference == "uncaptioned":
            return context.model.embed([""])[[0] * count], empty
        return context.positive, empty

    def step(
        self,
        state: tuple[Conditioning, Conditioning],
        latents: Float[Tensor, "n *shape"],
        t: Real[Tensor, "n"],
        predict: Predict,
    ) -> tuple[tuple[Conditioning, Conditioning], Float[Tensor, "n *shape"]]:
        """The combined noise; the state never changes."""
        tuned = predict(latents, t, state[0])
        base_factor = 1 - self.scale + self.correction
        excess = self._excess(t) * latents if self.correction else 0.0
        if not base_factor:
            return state, self.scale * tuned - excess
        with torch.no_grad():
            base = self.base.predict(latents.to(self.base.device), t.to(self.base.device), state[1])
        return state, base_factor * base.to(tuned.device) + self.scale * tuned - excess

    def _excess(self, t: Real[Tensor, "n"]) -> float:
        """Noise that the correction takes out too much, as a factor of the latents: k (1 - 14.6 a / b) / b.


        It is 0 up to b = 14.6 a. The factors sum to 1 + k, which moves the clean latents by -k x / a for latents x at a
        signal level a. Stable Diffusion 1, which k is published for, has a noise level b of 14.6 a at most. On a
        straight path a falls to 0, and k x / a is held at 14.6 k x / b from there on.
        """
        level = level_at(self.base.schedule, timestep_of(t))
        if not self.base.schedule.straight or level.ratio <= MOST_RATIO:
            return 0.0
        return self.correction * (1 - MOST_RATIO * level.signal / level.noise) / level.noise
