"""An encoder and a gradient network, taught side by side beside a frozen denoiser."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from intaglio.explain.encodings.shifted_noise import CodedDenoiser
from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import StepLoss, train
from intaglio.learning.settings import CosineSettings
from intaglio.learning.step_randomness import batch_at, noise_at, timesteps_at
from intaglio.learning.trainer import Trainer
from intaglio.randomness import generator
from intaglio.runs.run import Run

TRAINING = "encoding"
"""Name of the training, of its state and its log."""
SAVED_S = 20.0
SAVED = 50
"""Seconds between two saved states, beside so many that are saved in all."""


@dataclass(frozen=True, kw_only=True)
class EncodingPace:
    """The length of a training and the size of its steps."""

    steps: int
    batch: int
    learning_rate: float
    detach: bool
    seed: int


@dataclass(frozen=True, eq=False)
class EncodingLessons:
    """Pictures, as an encoder and as a denoiser see them."""

    seen: Float[Tensor, "n *picture"]
    """As the encoder is given them."""
    latents: Float[Tensor, "n *shape"]
    """As the denoiser does, clean."""

    def __len__(self) -> int:
        return len(self.seen)

    def part(self, rows: Int[Tensor, "m"]) -> "EncodingLessons":
        """Some of the pictures."""
        return EncodingLessons(self.seen[rows], self.latents[rows])


def teach(encoder: nn.Module, denoiser: CodedDenoiser, lessons: EncodingLessons, pace: EncodingPace, run: Run) -> None:
    """Makes all updates of the encoder and of the gradient network, in place, and freezes both.

    A step draws pictures, each once an epoch, unit noise and uniform timesteps; its loss is the mean weighted error of
    the shifted noise.
    """
    networks = nn.ModuleDict({"encoder": encoder, "gradient": denoiser.gradient})
    device = lessons.latents.device

    def objective(step: int) -> StepLoss:
        places = batch_at(range(len(lessons)), step, min(pace.batch, len(lessons)), pace.seed, TRAINING)
        latents = lessons.latents[places]
        noise = noise_at(latents.shape, step, pace.seed).to(device)
        t = timesteps_at(len(latents), denoiser.schedule.count, step, pace.seed).to(device)
        base, coded = denoiser.errors(latents, noise, t, encoder(lessons.seen[places]), pace.detach)
        loss = coded.mean()
        loss.backward()
        return StepLoss(float(loss.detach()), beside={"frozen": float(base.mean())})

    settings = CosineSettings(steps=pace.steps, learning_rate=pace.learning_rate, warmup=20)
    trainer = Trainer(dict(networks.named_parameters()), settings)
    often = max(1, pace.steps // SAVED)
    checkpoints = Checkpoints(run, every_s=SAVED_S, every=often, streams=(TRAINING,), state=TRAINING)
    checkpoints.restore(trainer)
    train(trainer, objective, run, checkpoints, label=TRAINING, stream=TRAINING)
    trainer.export()
    networks.eval().requires_grad_(False)


@torch.no_grad()
def level_errors(
    denoiser: CodedDenoiser,
    codes: Float[Tensor, "n z"],
    latents: Float[Tensor, "n *shape"],
    hashes: Sequence[str],
    times: Sequence[int],
    seed: int,
) -> Float[Tensor, "2 l n"]:
    """Weighted errors of each picture at each timestep: of the frozen noise, and of the shifted one.

    The noise is a function of the seed, the timestep and the picture alone.
    """
    found = []
    for t in times:
        sources = [generator(seed, "level errors", t, content) for content in hashes]
        noise = torch.stack([torch.randn(latents.shape[1:], generator=one) for one in sources]).to(latents)
        both = denoiser.errors(latents, noise, torch.full((len(latents),), t, device=latents.device), codes)
        found.append(torch.stack(both).float().cpu())
    return torch.stack(found, 1)
