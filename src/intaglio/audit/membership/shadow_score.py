"""Membership audits that measure a picture under the suspect and under shadow models, and compare the two."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intaglio.audit.membership.family import AuditInputs, Authentication, Authenticator, check_least
from intaglio.audit.membership.per_model import PromptedModel
from intaglio.audit.membership.work_key import work_key
from intaglio.denoising.losses import Precision
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.picture_batches import in_batches, parts_by_content
from intaglio.runs.run import Run

Measured = Mapping[str, Float[Tensor, "..."]]
"""Numbers of each picture by name: [n] under one model, [s, n] under s."""


@dataclass(frozen=True, kw_only=True)
class ShadowScore(Authenticator):
    """A membership audit by numbers of a picture under each model, of which those under shadows are explained.

    What a picture's numbers are without it, and with it, is learnt from shadow models, of which it is known what they
    were tuned on. Latents are those of the base's autoencoder, or of the suspect's where there is no base.
    """

    needs_base: ClassVar[bool] = False
    needs_shadows: ClassVar[bool] = True
    own_captions: ClassVar[Literal["refused", "taken", "needed"]] = "taken"

    precision: Precision = "float32"
    """Arithmetic inside the networks; float16 and bfloat16 by autocast."""
    batch: int = 16
    """Pictures measured together, from 1."""
    micro_batch: int = 64
    """Rows in one call of a network, from 1; lower it when memory is short, the result stays."""
    seed: int = 0
    """Fixes the noise."""

    def __post_init__(self) -> None:
        check_least(self, {"batch": 1, "micro_batch": 1})

    @abstractmethod
    def numbers(self, model: PromptedModel, latents: Float[Tensor, "n c h w"]) -> Measured:
        """The numbers of pictures under one model, [n] each."""

    @abstractmethod
    def judged(
        self, suspect: Measured, shadows: Measured, kept: Bool[Tensor, "s n"], images: ImageSet
    ) -> Authentication:
        """Scores, from the numbers under the suspect [n] and under the shadows [s, n], which were tuned on `kept`.

        Pictures are in the order of their content.
        """

    def audit(self, inputs: AuditInputs, images: ImageSet, run: Run) -> Authentication:
        """The numbers under every model, a model after the other; then the comparison."""
        if inputs.shadows is None:
            raise ValueError(f"{self.name} is called with shadows, or not at all")
        order = [place for part in parts_by_content(images, self.batch) for place in part]
        ordered = images[order]
        latents = self._latents(inputs, ordered)
        suspect = self._measured(inputs, inputs.suspect, ordered, latents, run, f"{self.name} suspect")
        rows = []
        for shadow in inputs.shadows:
            kind = f"{self.name} shadow {shadow.fingerprint[:10]}"
            rows.append(self._measured(inputs, shadow.load(), ordered, latents, run, kind))
        shadows = {name: torch.stack([row[name] for row in rows]) for name in suspect}
        found = self.judged(suspect, shadows, inputs.shadows.kept(ordered), ordered)
        back = torch.tensor(order).argsort()
        return replace(
            found,
            names=images.names,
            scores=found.scores[back],
            signals={name: values[back] for name, values in found.signals.items()},
        )

    def _latents(self, inputs: AuditInputs, images: ImageSet) -> dict[str, Float[Tensor, "c h w"]]:
        """The latents of the pictures, by content."""
        found = {}
        with torch.no_grad(), inputs.reference.frozen():
            for start in range(0, len(images), self.batch):
                part = images[start : start + self.batch]
                found |= dict(zip(part.hashes, inputs.reference.encode(part.pixels).float().cpu(), strict=True))
        return found

    def _measured(
        self,
        inputs: AuditInputs,
        model: LatentDiffusion,
        images: ImageSet,
        latents: Mapping[str, Tensor],
        run: Run,
        kind: str,
    ) -> dict[str, Float[Tensor, "n"]]:
        """The numbers under one model, recorded batch by batch."""
        key = work_key(self, replace(inputs, suspect=model), without=("micro_batch",), images=images)
        with model.frozen():
            with torch.no_grad():
                text = model.embed([inputs.prompt]).detach()
            shared = PromptedModel(model, text, self.micro_batch, self.precision, (inputs.prompt,))

            def numbers(part: ImageSet) -> Measured:
                asked = shared.under(inputs.prompts_of(part)) if inputs.own_captions else shared
                return self.numbers(asked, torch.stack([latents[content] for content in part.hashes]))

            return in_batches(run, kind, key, images, numbers, batch=self.batch)
