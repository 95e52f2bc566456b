"""PromptGen: a flow of the first noise, so that the pictures are such as a verifier likes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from intaglio.errors import BadInput
from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import StepLoss, train
from intaglio.learning.mixed_precision import computing_in
from intaglio.learning.precision import MixedPrecision, check_precision
from intaglio.learning.settings import CosineSettings
from intaglio.learning.trainer import Trainer
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.sampling.grid import NoiseLevel, timestep_grid
from intaglio.sampling.starts.noise_flow import NoiseFlow
from intaglio.sampling.step import ddim_step
from intaglio.sampling.trained.family import SamplingTrainer
from intaglio.sampling.trained_part import TrainedPart
from intaglio.sampling.verifier import Verifier
from intaglio.sampling.verifier_names import verifier_of

TRAINED = "noise_flow"
"""Name of the flow's state in a run."""
Energy = Callable[[Tensor, int], Tensor]
"""(noises [n, d], number of the first) to energies [n], differentiable."""


@dataclass(frozen=True, kw_only=True)
class PromptGen(MixedPrecision, SamplingTrainer):
    """PromptGen: the first noise by an invertible network, led to pictures that a verifier likes.

    The wanted law of the noise ζ is that of unit noise times exp(weight · score of the picture G(ζ)), where G are
    `steps` of DDIM and the decoder. A flow f of unit noise ξ, affine couplings that begin as the identity, learns it by

        mean of -weight · score(G(f(ξ))) + ½ ‖f(ξ)‖² - log |det f'(ξ)|

    whose gradient goes back through decoder and steps. `--start promptgen --start-file` then draws noise from the flow,
    at no further call; the steps must be as many, since another grid makes other pictures of the noise.

    With a large weight the pictures have a high score and nothing else: look at some. `norm`, the mean of ‖f(ξ)‖² over
    its numbers at the end, is 1 for unit noise, and may stay so. `score_before` and `score_after` are of the same fresh
    noise, by the verifier that led, so that another should judge.

    Source: arXiv 2209.06970, whose flow mixes numbers by orthogonal matrices, and here by permutations.
    """

    states_kept: ClassVar[tuple[str, ...]] = (TRAINED,)

    verifier: str = ""
    """Verifier with a gradient: colour:NAME, ink or denoiser."""
    weight: float = 300.0
    """Weight of the score, above 0."""
    steps: int = 5
    """Steps of DDIM, 1 to 1000; pictures by this start take as many."""
    scale: float = 1.0
    """Guidance scale, 0 or more, 1 for none, which costs two calls a step in place of one."""
    updates: int = 500
    """Updates of the flow, 1 or more."""
    batch: int = 16
    """Noises an update, 1 or more."""
    at_once: int | None = None
    """Noises in memory at once, 1 or more; None: all of an update. The result is the same, up to rounding."""
    blocks: int = 8
    """Couplings, 1 or more."""
    width: int = 256
    """Width of the couplings' hidden layers, 1 or more."""
    learning_rate: float = 1e-3
    """Highest learning rate of AdamW, above 0; it falls along half a cosine."""
    judged: int = 64
    """Noises of which scores and norm are told, 1 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_precision(self.precision)
        for name in ("updates", "blocks", "width", "judged", "at_once"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value}")
        for name in ("weight", "learning_rate"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be above 0, and finite, not {getattr(self, name)}")

    def check(self, model: LatentDiffusion, prompts: Sequence[str]) -> None:
        """Raises `BadInput` without a verifier, and for one that has no gradient."""
        super().check(model, prompts)
        known = "give --verifier colour:NAME, ink or denoiser"
        if not self.verifier:
            raise BadInput(f"promptgen climbs the score of a verifier, and there is none; {known}")
        if not verifier_of(self.verifier, model).differentiable:
            raise BadInput(f"the verifier {self.verifier} has no gradient, which promptgen climbs; {known}")

    def hashes(self, model: LatentDiffusion) -> dict[str, str]:
        """That of the verifier."""
        return {"verifier": verifier_of(self.verifier, model).hash}

    def planned(self, model: LatentDiffusion, prompts: Sequence[str]) -> Calls:
        """Every step of every noise, twice forward since memory is spared, and back; and the judged ones."""
        walk, judge = self.steps * self.branches, verifier_of(self.verifier, model).calls
        trained = Calls(2 * walk + judge, walk + judge, decodes=1, verifications=1).times(self.updates * self.batch)
        return trained + Calls(walk + judge, decodes=1, verifications=1).times(2 * self.judged)

    def __call__(self, model: LatentDiffusion, prompts: Sequence[str], *, run: Run = Run.none()) -> TrainedPart:
        """The weights of the flow."""
        self.check(model, prompts)
        side = model.resolution // model.factor
        shape = (model.latent_channels, side, side)
        picture = _Pictures(model, tuple(prompts), timestep_grid(model.schedule, self.steps), self.scale, shape)
        verifier = verifier_of(self.verifier, model)

        def energy(noises: Tensor, first: int) -> Tensor:
            return -self.weight * picture.scores(noises, first, verifier)

        size = model.latent_channels * side**2
        flow = NoiseFlow(size, self.blocks, self.width, self.seed).to(model.device)
        with model.frozen():
            with computing_in(self.precision, [model.denoiser]):  # not the flow, whose determinants need every digit
                self.fit(flow, energy, size, run)
            facts = self._facts(flow, picture, verifier, size)
        facts |= {"size": size, "timesteps": [level.t for level in picture.grid[:-1]]}
        return self.part(model, prompts, {k: v.contiguous() for k, v in flow.state_dict().items()}, facts)

    def fit(self, flow: NoiseFlow, energy: Energy, size: int, run: Run = Run.none()) -> None:
        """Trains a flow of `size` numbers in place, towards the law of exp(-energy - ½ ‖ζ‖²)."""
        device = next(flow.parameters()).device

        def objective(step: int) -> StepLoss:
            noises, total = self._noise("train", step, self.batch, size).to(device), 0.0
            for part in range(0, self.batch, self.at_once or self.batch):
                taken = noises[part : part + (self.at_once or self.batch)]
                led, logdet = flow(taken)
                rows = energy(led, step * self.batch + part) + led.square().sum(1) / 2 - logdet
                # By the size: the clipping of gradients is meant for a loss of the order of 1.
                loss = rows.sum() / (self.batch * size)
                loss.backward()
                total += float(loss.detach())
            return StepLoss(total)

        settings = CosineSettings(
            steps=self.updates, learning_rate=self.learning_rate, warmup=0, weight_decay=0.0, betas=(0.9, 0.99)
        )
        trainer = Trainer(dict(flow.named_parameters()), settings, precision=self.precision)
        checkpoints = Checkpoints(run, every_s=60.0, streams=(TRAINED,), state=TRAINED)
        checkpoints.restore(trainer)
        advice = "try a lower --weight or --learning-rate"
        train(trainer, objective, run, checkpoints, advice=advice, label="flow", stream=TRAINED)
        trainer.export()

    @torch.no_grad()
    def _facts(self, flow: NoiseFlow, picture: "_Pictures", verifier: Verifier, size: int) -> dict[str, float]:
        """Mean scores of fresh noise before and after the flow, and its mean square after it."""
        noise = self._noise("judge", 0, self.judged, size).to(picture.model.device)
        after, before, norm = 0.0, 0.0, 0.0
        for first in range(0, self.judged, self.batch):
            taken = noise[first : first + self.batch]
            led = flow(taken)[0]
            norm += float(led.square().mean(1).sum()) / self.judged
            before += float(picture.scores(taken, first, verifier).sum()) / self.judged
            after += float(picture.scores(led, first, verifier).sum()) / self.judged
        return {"score_before": before, "score_after": after, "norm": norm}

    def _noise(self, name: str, step: int, count: int, size: int) -> Float[Tensor, "count size"]:
        return torch.randn(count, size, generator=generator(self.seed, name, step))


@dataclass(frozen=True)
class _Pictures:
    """Pictures that the model draws of noises, differentiable, and their scores."""

    model: LatentDiffusion
    prompts: tuple[str, ...]
    grid: list[NoiseLevel]
    scale: float
    shape: tuple[int, int, int]

    def scores(self, noises: Float[Tensor, "n d"], first: int, verifier: Verifier) -> Float[Tensor, "n"]:
        """Scores of the pictures of noises, of which the first is that of this number and its prompt in turn."""
        prompts = [self.prompts[(first + k) % len(self.prompts)] for k in range(len(noises))]
        given = self.model.embed(prompts)
        blank = None if self.scale == 1 else self.model.embed([""])[[0] * len(noises)]
        x = noises.view(-1, *self.shape)
        for now, then in pairwise(self.grid):
            x = checkpoint(self._step, x, now, then, given, blank, use_reentrant=False)
        return verifier(self.model.decode(x, clamp=False), prompts).to(noises)

    def _step(
        self, x: Tensor, now: NoiseLevel, then: NoiseLevel, given: Conditioning, blank: Conditioning | None
    ) -> Tensor:
        t = now.batch(len(x), x.device)
        noise = self.model.predict(x, t, given)
        if blank is not None:
            without = self.model.predict(x, t, blank)
            noise = without + self.scale * (noise - without)
        return ddim_step(x, noise, now, then)
