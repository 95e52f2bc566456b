"""LiRA: a picture's denoising loss beside that of shadow models, tuned with and without the picture."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intaglio.audit.membership.cost import DenoiserCalls, batches_of, in_micro_batches
from intaglio.audit.membership.family import Authentication, check_least, check_range
from intaglio.audit.membership.per_model import PromptedModel
from intaglio.audit.membership.shadow_score import Measured, ShadowScore
from intaglio.audit.membership.shadows import Shadows
from intaglio.denoising.samples import fixed_samples
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet

OWN_DEVIATIONS = 64
"""Shadows from which each picture has a standard deviation of its own; fewer do not tell it."""
FEWEST = 2
"""Shadows, at least, that are without a picture, and online as many with it."""


@dataclass(frozen=True, kw_only=True)
class LiRA(ShadowScore):
    """LiRA: by how much better the suspect denoises a picture than models tuned without it do.

    psi = -L(z0), the negated mean squared denoising error over fixed pairs (t, eps) that serve all pictures and models
    alike, is taken under the suspect and under each shadow model. Of a picture, mu_out is the median of psi under the
    shadows that were tuned without it, and sigma_out their standard deviation about their mean. The score is

        offline:   (psi - mu_out) / sigma_out
        online:    log N(psi; mu_in, sigma_in) - log N(psi; mu_out, sigma_out)

    where mu_in and sigma_in are those of the shadows that were tuned on the picture. Offline questioned pictures may
    be such as no shadow has seen; online every picture needs shadows with it and without it. One standard deviation
    serves all pictures where there are fewer than 64 shadows.

    The paper's offline score, log Phi((psi - mu_out) / sigma_out), rises with the one here, so that p-values are the
    same; it has no digits left for pictures that stand out far. Shadows need the suspect's own recipe: base, steps,
    rate, number of pictures. Tune them on random halves of the questioned pictures and the controls together
    (`intaglio finetune ... --half`), so that both are compared alike; 16 are usual.

    Source: arXiv 2112.03570 (IEEE S&P 2022), for classifiers; here with the denoising loss.
    """

    reading: ClassVar[str] = "by how much better the suspect denoises the picture than models tuned without it do"
    signals: ClassVar[tuple[str, ...]] = ("suspect", "without")

    levels: int = 20
    """Timesteps, one from each of as many equal bins; from 1."""
    noises: int = 2
    """Draws of noise a timestep; from 1."""
    timesteps: tuple[int, int] = (1, 999)
    """First and last timestep that may be drawn."""
    online: bool = False
    """Compare with shadows tuned on the picture too; every picture must be among what they were tuned on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, {"levels": 1, "noises": 1})
        check_range(self.timesteps)

    @property
    def last_timestep(self) -> int:
        """The last timestep that may be drawn."""
        return self.timesteps[1]

    def calls(self, pictures: int, models: int) -> tuple[DenoiserCalls, ...]:
        """Every sample of a picture once by each model."""
        groups = [count * self.levels * self.noises for count in batches_of(pictures, self.batch)]
        return (DenoiserCalls(in_micro_batches(groups, self.micro_batch, times=models), encoded=pictures),)

    def check_known(self, shadows: Shadows, images: ImageSet) -> None:
        """Raises `BadInput` for a picture that too few shadows are without; online, or with."""
        kept = shadows.kept(images)
        for known, words in ((~kept, "without"), *(((kept, "with"),) if self.online else ())):
            counts = known.sum(0)
            if (counts < FEWEST).any():
                place = int(counts.argmin())
                count = int(counts[place])
                raise BadInput(
                    f"{count or 'none'} of {len(shadows)} shadows {'is' if count == 1 else 'are'} tuned {words} "
                    f"{images.names[place]}, and {FEWEST} or more must be; tune more of them, on other halves"
                )

    def numbers(self, model: PromptedModel, latents: Float[Tensor, "n c h w"]) -> Measured:
        """The negated loss of each picture."""
        samples = fixed_samples(self.levels, tuple(latents.shape[1:]), self.timesteps, self.seed, self.noises)
        return {"fit": -model.losses(latents, *samples)}

    def judged(
        self, suspect: Measured, shadows: Measured, kept: Bool[Tensor, "s n"], images: ImageSet
    ) -> Authentication:
        """The deviations, or the log likelihood ratios."""
        fit, others = suspect["fit"], shadows["fit"]
        scores = log_likelihood_ratios(fit, others, kept) if self.online else deviations(fit, others, kept)
        without, _ = middle_and_spread(others, ~kept)
        return Authentication(
            method=self.name,
            names=images.names,
            scores=scores.float(),
            signals={"suspect": fit, "without": without.float()},
            diagnostics={"shadows": len(kept)},
        )


def deviations(fit: Float[Tensor, "n"], others: Float[Tensor, "s n"], kept: Bool[Tensor, "s n"]) -> Float[Tensor, "n"]:
    """The offline score: standard deviations above the median of the shadows that were tuned without a picture.

    Args:
        fit: psi under the suspect.
        others: psi under each shadow.
        kept: whether each shadow was tuned on each picture.
    """
    middle, spread = middle_and_spread(others, ~kept)
    return (fit.double() - middle) / spread


def log_likelihood_ratios(
    fit: Float[Tensor, "n"], others: Float[Tensor, "s n"], kept: Bool[Tensor, "s n"]
) -> Float[Tensor, "n"]:
    """The online score, of arguments as `deviations` has them."""
    logs = []
    for known in (kept, ~kept):
        middle, spread = middle_and_spread(others, known)
        logs.append(torch.distributions.Normal(middle, spread).log_prob(fit.double()))
    return logs[0] - logs[1]


def middle_and_spread(
    others: Float[Tensor, "s n"], known: Bool[Tensor, "s n"]
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
    """Of each picture, median and standard deviation over the shadows that are `known`, two or more; float64.

    The deviation is about the mean, pooled over all pictures where there are fewer than 64 shadows.
    """
    values = others.double()
    empty = torch.full_like(values, torch.nan)
    middle = torch.where(known, values, empty).nanquantile(0.5, dim=0)
    counts = known.sum(0)
    means = torch.where(known, values, 0.0).sum(0) / counts
    squares = torch.where(known, values - means, 0.0).square().sum(0)
    if len(values) < OWN_DEVIATIONS:
        squares, counts = squares.sum().expand_as(squares), (counts - 1).sum() + 1
    return middle, (squares / (counts - 1)).sqrt().clamp_min(1e-12)
