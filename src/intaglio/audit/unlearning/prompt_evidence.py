"""Evidence of a prompt: how much lower a model's denoising loss of pictures is under it than under another prompt."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from intaglio.denoising.picture_samples import PictureSamples
from intaglio.denoising.samples import fixed_samples
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

DRAWS = 8
"""Timesteps with a noise each, one from each of so many equal parts of the schedule, the same for every picture."""
AT_ONCE = 16
"""Samples that go through the network together."""


@dataclass(frozen=True, eq=False)
class PromptEvidence:
    """Denoising errors of n pictures, in the network's own target."""

    without: Float[Tensor, "n"]
    """L_a: under the prompt that it is compared with."""
    under: Float[Tensor, "n"]
    """L_c: under the prompt."""

    @property
    def evidence(self) -> Float[Tensor, "n"]:
        """L_a - L_c of each: above 0 where the prompt helps more to denoise it than the other."""
        return self.without - self.under


def prompt_evidence(
    model: LatentDiffusion,
    latents: Float[Tensor, "n c h w"],
    prompts: Sequence[str],
    against: Sequence[str],
    *,
    seed: int,
) -> PromptEvidence:
    """The evidence of each picture's prompt, mean over `DRAWS` fixed timesteps and noises.

    Args:
        model: left as it was found.
        latents: clean, on the CPU.
        prompts: one a picture.
        against: the prompt that each is compared with; the empty one asks how much the words help at all.
        seed: of timesteps and noises, which depend on nothing else, so that two models compare.
    """
    noise, timesteps = fixed_samples(DRAWS, tuple(latents.shape[1:]), (0, model.schedule.count - 1), seed)
    asked = PictureSamples(latents.cpu(), tuple(prompts), noise, timesteps)
    other = replace(asked, prompts=tuple(against))
    return PromptEvidence(other.errors(model, AT_ONCE), asked.errors(model, AT_ONCE))
