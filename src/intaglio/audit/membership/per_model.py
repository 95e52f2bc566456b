"""Membership audits that score each model alone: the suspect's score, less the base's where one calibrates it."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Real
from torch import Tensor

from intaglio.audit.membership.cost import DenoiserCalls, batches_of, in_micro_batches
from intaglio.audit.membership.family import AuditInputs, Authentication, Authenticator, check_least
from intaglio.audit.membership.work_key import work_key
from intaglio.denoising.losses import Precision, losses, noise_predictions
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.picture_batches import in_batches
from intaglio.runs.run import Run


@dataclass(frozen=True, eq=False)
class PromptedModel:
    """One model with the prompt of some pictures, and the way its network is called.

    Timesteps are those of Stable Diffusion 1, which papers name; on a straight path those of the same signal-to-noise
    ratio stand for them (`NoiseSchedule.places`).
    """

    model: LatentDiffusion
    text: Conditioning
    """A row a picture, or one for all of them."""
    micro_batch: int
    precision: Precision
    prompts: tuple[str, ...] = ()
    """The words of `text`, a prompt a row."""

    def under(self, prompts: Sequence[str]) -> "PromptedModel":
        """The same model under these prompts, one a picture or one for all."""
        with torch.no_grad():
            return replace(self, text=self.model.embed(list(prompts)).detach(), prompts=tuple(prompts))

    def noise(self, latents: Float[Tensor, "n c h w"], t: int) -> Float[Tensor, "n c h w"]:
        """The predicted noise of latents at timestep `t`, on the CPU."""
        times = torch.full((len(latents), 1), self.at(t))
        return noise_predictions(self.model, self.text, latents[:, None], times, self.micro_batch, self.precision)[:, 0]

    def noised(self, latents: Float[Tensor, "n c h w"], noise: Float[Tensor, "n c h w"], t: int) -> Tensor:
        """Clean latents with this noise at timestep `t` [n, c, h, w]."""
        return self.model.noised(latents, noise, torch.full((len(latents),), self.at(t)))

    def losses(
        self, latents: Float[Tensor, "n c h w"], noise: Float[Tensor, "1 k c h w"], t: Real[Tensor, "1 k"]
    ) -> Float[Tensor, "n"]:
        """The mean loss of clean latents, each in what the network predicts, over samples that all of them share."""
        count, times = len(latents), torch.tensor([[self.at(int(one)) for one in t[0]]])
        samples = noise.expand(count, -1, -1, -1, -1), times.expand(count, -1)
        return losses(self.model, self.text, latents, *samples, self.micro_batch, self.precision).mean(1)

    def at(self, t: int) -> int:
        """The model's own timestep for one of Stable Diffusion 1."""
        return self.model.schedule.places([t])[0]


@dataclass(frozen=True, kw_only=True)
class PerModelScore(Authenticator):
    """A membership audit by a score that each model gives a picture alone.

    The verdict's score is the suspect's, or with `calibrate`, where a base is given, the suspect's less the base's:
    a picture that any model finds easy does not stand out then. Signals: `suspect` and, with a base, `base`.
    """

    needs_base: ClassVar[bool] = False
    signals: ClassVar[tuple[str, ...]] = ("suspect", "base")
    own_captions: ClassVar[Literal["refused", "taken", "needed"]] = "taken"

    calibrate: bool = True
    """Subtract the base's score, where a base is given. Published: no."""
    precision: Precision = "float32"
    """Arithmetic inside the networks; float16 and bfloat16 by autocast."""
    batch: int = 16
    """Pictures scored together, from 1."""
    micro_batch: int = 64
    """Rows in one call of a network, from 1; lower it when memory is short, the result stays."""

    def __post_init__(self) -> None:
        check_least(self, {"batch": 1, "micro_batch": 1})

    @property
    def queries(self) -> int:
        """Predictions of noise that one model's score of a picture takes; 0 where the method does not say."""
        return 0

    def calls(self, pictures: int, models: int) -> tuple[DenoiserCalls, ...]:
        """The queries of every picture by each model."""
        if not self.queries:
            return ()
        batches = in_micro_batches(batches_of(pictures, self.batch), self.micro_batch, times=self.queries * models)
        return (DenoiserCalls(batches, encoded=pictures),)

    @abstractmethod
    def score(self, model: PromptedModel, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n"]:
        """One model's score of clean latents; higher means "in the set"."""

    def audit(self, inputs: AuditInputs, images: ImageSet, run: Run) -> Authentication:
        """Both models' scores, batch by batch."""

        def scores(part: ImageSet) -> Mapping[str, Tensor]:
            with torch.no_grad():
                latents = inputs.reference.encode(part.pixels).cpu()
                own = inputs.prompts_of(part) if inputs.own_captions else None
                given = {role: model if own is None else model.under(own) for role, model in models.items()}
                return {role: self.score(model, latents) for role, model in given.items()}

        key = work_key(self, inputs, without=("micro_batch", "calibrate"), images=images)
        with self.prompted(inputs) as models:
            found = in_batches(run, self.name, key, images, scores, batch=self.batch)
        calibrated = self.calibrate and inputs.base is not None
        score = found["suspect"] - found["base"] if calibrated else found["suspect"].clone()
        return Authentication(method=self.name, names=images.names, scores=score, signals=found)

    @contextmanager
    def prompted(self, inputs: AuditInputs) -> Iterator[dict[str, PromptedModel]]:
        """The models by role, frozen while the block runs, each with the prompt as it embeds it."""
        with ExitStack() as held:
            found = {}
            for role, model in inputs.models.items():
                held.enter_context(model.frozen())
                with torch.no_grad():
                    text = model.embed([inputs.prompt]).detach()
                found[role] = PromptedModel(model, text, self.micro_batch, self.precision, (inputs.prompt,))
            yield found
