"""A student led by the difference of two scores: what the turns of its methods share."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Real
from torch import Tensor

from intaglio.distill.distillation_set import DistillationSet
from intaglio.distill.family import Distiller
from intaglio.learning.loop import StepLoss
from intaglio.learning.loss_parts import in_parts
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator_32bit


@dataclass(frozen=True, eq=False)
class ScorePlayers:
    """A student, its teacher, and a fake network, which learns to denoise what the student draws."""

    method: Distiller
    teacher: LatentDiffusion
    student: LatentDiffusion
    fake: LatentDiffusion
    data: DistillationSet

    levels: ClassVar[tuple[float, float]] = (0.02, 0.98)
    """Shares of the schedule between which the timesteps of the comparison are drawn."""

    @property
    def parts(self) -> list[slice]:
        """Rows of a batch that are in memory at once."""
        count, size = self.method.batch, self.method.micro_batch or self.method.batch
        return [slice(first, min(first + size, count)) for first in range(0, count, size)]

    def drawn(self, player: str, step: int) -> tuple[Tensor, Tensor, list[str], Tensor]:
        """Unit noise for the student, timesteps, captions, and latents of the set."""
        method, device = self.method, self.teacher.device
        batch = self.data.batch(step, method.batch, dropped=0.0, seed=method.seed, stream=player)
        low, high = (round(share * self.teacher.schedule.count) for share in self.levels)
        source = generator_32bit(method.seed, player, "timesteps", step)
        t = torch.randint(low, max(high, low + 1), (method.batch,), generator=source)
        return self.unit(player, step), t.to(device), batch.captions, batch.latents.to(device)

    def unit(self, what: str, step: int) -> Float[Tensor, "n c h w"]:
        """Unit noise of an update."""
        shape = (self.method.batch, *self.data.latents.shape[1:])
        source = generator_32bit(self.method.seed, what, "noise", step)
        return torch.randn(shape, generator=source).to(self.teacher.device)

    def guided(
        self,
        model: LatentDiffusion,
        noised: Float[Tensor, "n c h w"],
        t: Real[Tensor, "n"],
        given: Conditioning,
        scale: float,
    ) -> Float[Tensor, "n c h w"]:
        """A model's prediction under a guidance scale, away from the empty prompt."""
        if scale == 1:
            return model.predict(noised, t, given)
        both = Conditioning.cat([self.teacher.embed([""])[[0] * len(noised)], given])
        empty, prompted = model.predict(torch.cat([noised, noised]), torch.cat([t, t]), both).chunk(2)
        return empty + scale * (prompted - empty)

    def fake_loss(
        self,
        clean: Float[Tensor, "n c h w"],
        added: Float[Tensor, "n c h w"],
        t: Real[Tensor, "n"],
        captions: list[str],
    ) -> StepLoss:
        """Denoising error of the fake network on the student's latents, with its gradients."""

        def errors(part: slice) -> Float[Tensor, " n"]:
            given = self.teacher.embed(captions[part])
            found = self.fake.predict(self.teacher.noised(clean[part], added[part], t[part]), t[part], given)
            return (found - added[part]).square().mean((1, 2, 3))

        return in_parts(self.method.batch, self.method.micro_batch, errors)
