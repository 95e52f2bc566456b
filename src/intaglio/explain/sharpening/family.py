"""Encoder sharpeners: the contract of a method that teaches an encoder by a generator that draws from what it gives."""

import copy
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.errors import BadInput, require
from intaglio.explain.sharpening.changed_copies import changed_copies
from intaglio.explain.sharpening.copy_checks import TWINS, CopyScores, copy_scores, line_up
from intaglio.explain.sharpening.flow_lessons import FlowLessons, Latents, all_seen, fitted, held_out_errors
from intaglio.explain.sharpening.result import SharpenedEncoder
from intaglio.explain.sharpening.sharpening_stages import BOTH, ENCODER, GENERATOR, Sharpening
from intaglio.explain.sharpening.weak_generator import GROUPS, WeakGenerator, new_generator
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.encoder import Encoder, stored_state
from intaglio.randomness import generator
from intaglio.runs.run import Run
from intaglio.verbs import FileName

FEWEST = 12
"""Pictures at least."""
MOST_HELD = 400
"""Pictures that are held out, at most."""
LEVELS = 8
"""Times at which a held-out picture is drawn."""


@dataclass(frozen=True, kw_only=True)
class EncoderSharpener(ABC):
    """A way to sharpen an encoder of pictures by a weak generator that must draw them from their descriptors.

    The generator, a small convolutional network, is shown latents x_t = (1 - t) x + t n on the straight path to noise n
    at a time t = sigmoid(s N(0, 1)) and says n - x. What it cannot see in x_t it must be told by the descriptor, so
    that its error teaches the encoder what its descriptor lacks. Normalisation of the encoder stays in evaluation mode
    and as it is. A part of the pictures is held out; changed copies of these tell whether the encoder got better at
    what it is for.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    local: ClassVar[bool] = False
    """Whether the generator is shown the encoder's coarsest maps beside its descriptor."""

    generator_steps: int = 3000
    """Updates of the generator, from 1."""
    generator_rate: float = 1e-3
    """Its highest learning rate, which falls along half a cosine; above 0."""
    encoder_steps: int = 1000
    """Updates of the encoder, from 1."""
    encoder_rate: float = 1e-5
    """Its highest learning rate, which falls along half a cosine; above 0."""
    rows: int = 32
    """Pictures of an update, from 1."""
    width: int = 32
    """Channels of the generator, a multiple of 4 from 4 to 512."""
    time_scale: float = 1.0
    """Scale s of the logits of times, above 0."""
    held: float = 0.2
    """Share of the pictures that are held out, above 0 and at most 0.5; never more than 400 pictures."""
    copies: int = 4
    """Changed copies of each held-out picture, from 1."""
    seed: int = 0
    """Of parts, generator, draws and copies, 0 to 2**32 - 1."""

    def __post_init__(self) -> None:
        fit = 4 <= self.width <= 512 and self.width % GROUPS == 0
        require(fit, f"width must be a multiple of 4 from 4 to 512, not {self.width}")
        for name in ("generator_steps", "encoder_steps", "rows", "copies"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("generator_rate", "encoder_rate", "time_scale"):
            require(0 < getattr(self, name) < math.inf, f"{name} must be above 0, not {getattr(self, name)}")
        require(0 < self.held <= 0.5, f"held must be above 0 and at most 0.5, not {self.held}")
        require(0 <= self.seed < 2**32, f"seed must be 0 to 2**32 - 1, not {self.seed}")

    @abstractmethod
    def teach(self, both: Sharpening) -> None:
        """Teaches encoder and generator, in place."""

    @abstractmethod
    def seconds(self, cached: float, whole: float) -> float:
        """Seconds of the trainings.

        Args:
            cached: of an update of a generator that is told kept descriptors.
            whole: of an update that goes through the encoder.
        """

    def __call__(
        self, encoder: Encoder, images: ImageSet, latents: Latents, *, of: str = "encoder", run: Run = Run.none()
    ) -> SharpenedEncoder:
        """The sharpened encoder, and what changed.

        Args:
            encoder: left as it is.
            images: of any side.
            latents: what the generator draws of each, such as those of an autoencoder.
            of: the encoder's name.
            run: progress, states and warnings; a killed call goes on from the last saved step.

        Raises:
            BadInput: for too few pictures, and for latents of fewer than 2 cells a side.
            IntaglioError: for a loss that is not finite.
        """
        learnt, held = self.parts(images)
        if min(latents.shape[-2:]) < 2 or len(latents) != len(images):
            raise BadInput(f"latents of shape {tuple(latents.shape)} do not fit {len(images)} pictures")
        device = encoder.head.weight.device
        pixels, latents = images.pixels.to(device), latents.float().to(device)
        lessons = FlowLessons.of(
            encoder, pixels[learnt], latents[learnt], rows=self.rows, time_scale=self.time_scale, seed=self.seed
        )
        sharpened = copy.deepcopy(encoder).eval().requires_grad_(False)
        drawing = self.new_generator(encoder, latents).to(device)
        self.teach(Sharpening(encoder=sharpened, generator=drawing, lessons=lessons, local=self.local, run=run))
        sharpened.load_state_dict(stored_state(sharpened), strict=False)  # measured as it will be read
        result = self._result((encoder, sharpened), drawing, images, held, latents[held], lessons, of)
        for warning in result.warnings:
            run.warn(warning)
        return result

    def forget(self, run: Run) -> None:
        """Drops what a run kept to go on from; to be called once its result is safe."""
        for state in (GENERATOR, ENCODER, BOTH):
            run.drop_state(state)

    def parts(self, images: ImageSet) -> tuple[Int[Tensor, " a"], Int[Tensor, " m"]]:
        """Places of the pictures that are learnt from, and of those that are held out. Raises `BadInput`."""
        count = len(images)
        if count < FEWEST:
            raise BadInput(f"there are {count} pictures, too few to learn from and to ask about; give {FEWEST} or more")
        order = torch.randperm(count, generator=generator(self.seed, "held out"))
        few = max(TWINS, min(MOST_HELD, round(self.held * count)))
        return order[few:].sort().values, order[:few].sort().values

    def new_generator(self, encoder: Encoder, latents: Latents) -> WeakGenerator:
        """A generator that has learnt nothing."""
        local = encoder.widths[2] if self.local else 0
        return new_generator(latents.shape[1], encoder.dim, self.width, local, self.seed)

    def _result(
        self,
        both: tuple[Encoder, Encoder],
        drawing: WeakGenerator,
        images: ImageSet,
        held: Int[Tensor, " m"],
        latents: Latents,
        lessons: FlowLessons,
        of: str,
    ) -> SharpenedEncoder:
        chosen = images[held.tolist()]
        copies = changed_copies(chosen.pixels, chosen.hashes, self.copies, self.seed).flatten(0, 1)
        shown, device = line_up(images.pixels, held, self.seed), latents.device
        scores, errors, descriptors = list[CopyScores](), list[Float[Tensor, " n"]](), list[Tensor]()
        for encoder in both:
            every = all_seen(encoder, fitted(encoder, images.pixels.to(device)), self.local)
            changed = all_seen(encoder, fitted(encoder, copies.to(device)), False).descriptors.cpu()
            descriptors.append(every.descriptors.cpu())
            scores.append(copy_scores(changed.view(len(held), self.copies, -1), descriptors[-1], shown))
            own = every.of(held.tolist())
            errors.append(held_out_errors(drawing, own, latents, lessons, LEVELS))
            other = every.of(held.roll(1).tolist())
        mistaken = held_out_errors(drawing, other, latents, lessons, LEVELS)
        kept = (descriptors[0] * descriptors[1]).sum(1)[held].double()
        return SharpenedEncoder(
            method=self.name, of=of, learnt=len(images) - len(held), names=chosen.names, kept=kept.numpy(),
            loss_before=errors[0].numpy(), loss_after=errors[1].numpy(), loss_mistaken=mistaken.numpy(),
            before=scores[0], after=scores[1], widths=both[1].widths, size=both[1].size,
            weights=stored_state(both[1]),
        )  # fmt: skip
