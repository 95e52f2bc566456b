"""Encodings: the contract of a method that shares an encoding's numbers among noise levels, and its training."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput, IntaglioError, require
from intaglio.explain.encodings.encoding_networks import GROUPS, GradientNetwork, PictureEncoder
from intaglio.explain.encodings.label_slots import label_slots
from intaglio.explain.encodings.noise_slots import NoiseSlots, confusion, direction_distances
from intaglio.explain.encodings.result import PictureEncodings
from intaglio.explain.encodings.shifted_noise import CodedDenoiser
from intaglio.explain.encodings.swapped_slots import swapped_pictures
from intaglio.explain.encodings.taught_encoding import TRAINING, EncodingLessons, EncodingPace, level_errors, teach
from intaglio.images.image_set import ImageSet
from intaglio.models.capabilities import Encodes, HasUNet, PredictsNoise, ReadsPrompts, check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import first_weights
from intaglio.runs.picture_batches import content_order
from intaglio.runs.run import Run
from intaglio.verbs import FileName

FEWEST = 8
"""Pictures, at least."""
ENCODING = "encoding"
"""Of the draws of first weights."""
EACH, MOST_ASKED = 10, 32
"""Of so many pictures one is held out, and so many of those are asked about at most."""


@dataclass(frozen=True, kw_only=True)
class SlottedEncoding(ABC):
    """A way to an encoder of pictures whose numbers make up what noise destroys for a frozen denoiser.

    An encoder E turns a picture x into numbers z, and a gradient network G turns those that are given at timestep t
    into a shift of the noise that the frozen denoiser sees, without a prompt, in the noised picture x_t:

        eps_t = eps(x_t, t) + s_t G(x_t, t, z * given_t),   s_t = -sqrt(alpha_t) (1 - alphabar_(t-1)) / sqrt(1 - alphabar_t)

    Both are taught to lower w_t |eps - eps_t|^2, w = SNR^0.1 / (1 + SNR), over pictures, timesteps and noise. Every
    tenth picture is held out of it, and says how much of the frozen denoiser's error the numbers make up.
    """  # noqa: E501

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """The numbers given at a timestep, as the end of a sentence that begins "At a timestep are given"."""
    needs: ClassVar[tuple[type, ...]] = (Encodes, ReadsPrompts, PredictsNoise, HasUNet)
    """What a model must be able to do (`intaglio.models.capabilities`)."""

    numbers: int = 64
    """Numbers of a picture's encoding, 1 to 4096."""
    width: int = 32
    """Channels of the gradient network, a multiple of 8 from 8; twice as many at half the sides."""
    steps: int = 600
    """Updates of the training, from 1."""
    batch: int = 8
    """Pictures of an update, from 1."""
    learning_rate: float = 1e-3
    """Highest learning rate of AdamW, which falls along half a cosine; above 0."""
    levels: int = 64
    """Timesteps, evenly placed, at which errors of held-out pictures are measured, 1 to the schedule's count."""
    pairs: int = 3
    """Pairs of held-out pictures that are drawn with swapped slots, 0 or more."""
    swap_steps: int = 20
    """Steps of DDIM of such a drawing, from 1."""
    folds: int = 5
    """Folds of the pictures by which labels are read, 2 to 20."""
    strength: float = 0.1
    """Inverse strength C of the penalty of the probes that read labels, above 0."""
    at_once: int = 32
    """Pictures that go through the networks together once they are taught, from 1; the result is the same, up to its
    rounding."""
    seed: int = 0
    """Of networks, order, noise, drawings and folds, 0 to 2**31."""

    def __post_init__(self) -> None:
        require(1 <= self.numbers <= 4096, f"numbers must be 1 to 4096, not {self.numbers}")
        fit = self.width >= GROUPS and self.width % GROUPS == 0
        require(fit, f"width must be a multiple of 8 from 8, not {self.width}")
        for name in ("steps", "batch", "levels", "swap_steps", "at_once"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        require(self.pairs >= 0, f"pairs must be 0 or more, not {self.pairs}")
        require(2 <= self.folds <= 20, f"folds must be 2 to 20, not {self.folds}")
        for name in ("learning_rate", "strength"):
            require(0 < getattr(self, name) < math.inf, f"{name} must be above 0, not {getattr(self, name)}")
        require(0 <= self.seed <= 2**31, f"seed must be 0 to 2**31, not {self.seed}")

    @abstractmethod
    def slots(self, confused: Float[Tensor, "t"]) -> NoiseSlots:
        """The slots of a model's timesteps, and their numbers. Raises `BadInput` for too few timesteps.

        Args:
            confused: probability that two pictures are confused at each timestep, a mean over principal directions.
        """

    @property
    def detach(self) -> bool:
        """Whether numbers of earlier slots are given without their gradients."""
        return False

    @property
    def pace(self) -> EncodingPace:
        """Of the training."""
        return EncodingPace(
            steps=self.steps, batch=self.batch, learning_rate=self.learning_rate, detach=self.detach, seed=self.seed
        )

    def times(self, count: int) -> tuple[int, ...]:
        """Timesteps at which errors are measured, of so many. Raises `BadInput` for too few."""
        if self.levels > count:
            raise BadInput(f"the model has {count} timesteps; give --levels {count} or fewer")
        return tuple((2 * k + 1) * count // (2 * self.levels) for k in range(self.levels))

    def check(self, model: LatentDiffusion, images: ImageSet) -> None:
        """Raises `BadInput` for a model whose noise cannot be shifted so, and for too few pictures."""
        check_needs(self, model)
        self.times(model.schedule.count)
        if model.schedule.straight:
            raise BadInput(f"{model.name} is a flow model, whose noise is not shifted so; give a diffusion model")
        if len(images) < FEWEST:
            raise BadInput(f"{len(images)} pictures are too few to learn an encoding from; give {FEWEST} or more")

    def __call__(
        self,
        model: LatentDiffusion,
        images: ImageSet,
        labels: Mapping[str, Sequence[str]] | None = None,
        groups: Sequence[str] | None = None,
        *,
        run: Run = Run.none(),
    ) -> PictureEncodings:
        """Encodings of all pictures, and what their slots make up and tell; they do not depend on the pictures' order.

        Args:
            model: left as it was found.
            images: n pictures of its resolution.
            labels: texts by column that are read from slots, one a picture, empty where it is not known; None for none.
            groups: of each picture, such as twins, which stay in one fold; an empty text is a group of its own.
            run: progress, log and state; a killed call goes on from the last saved step.

        Raises:
            BadInput: for a model or pictures that do not fit, and labels of too few pictures.
            IntaglioError: for a loss or numbers that are not finite.
        """
        self.check(model, images)
        order = content_order(images)
        ordered = images[order]
        with model.frozen():
            lessons = EncodingLessons(ordered.pixels.to(model.device), self._latents(model, ordered))
            confused = confusion(direction_distances(lessons.latents.cpu()), model.schedule).mean(1)
            encoder, denoiser = self.networks(model, lessons.latents.shape[1], self.slots(confused))
            held = torch.arange(len(ordered)) % EACH == 0
            teach(encoder, denoiser, lessons.part((~held).nonzero()[:, 0]), self.pace, run)
            codes = self._codes(encoder, lessons.seen)
            places, times = held.nonzero()[:MOST_ASKED, 0], self.times(model.schedule.count)
            hashes = [ordered.hashes[k] for k in places.tolist()]
            errors = level_errors(denoiser, codes[places], lessons.latents[places], hashes, times, self.seed)
            pairs = places[: 2 * min(self.pairs, len(places) // 2)]
            seeds = [self.seed + k for k in range(len(pairs) // 2)]
            drawn = swapped_pictures(model, denoiser, codes[pairs], seeds, self.swap_steps, run) if seeds else None
        texts = {name: [one[k] for k in order] for name, one in (labels or {}).items()}
        own = None if groups is None else [groups[k] for k in order]
        rows = codes.double().cpu().numpy()
        read = label_slots(rows, denoiser.slots, texts, own, self.folds, self.strength, self.seed) if texts else ()
        result = PictureEncodings(
            method=self.name, reading=self.reading, slots=denoiser.slots,
            confused=tuple(float(confused[end - 1]) for end in denoiser.slots.ends),
            names=ordered.names, codes=codes.cpu(), encoder=encoder.cpu(), times=times, errors=errors.double().numpy(),
            pairs=tuple(ordered.names[k] for k in pairs.tolist()), originals=ordered.pixels[pairs].clone(),
            swapped=drawn, labels=read,
        )  # fmt: skip
        for warning in result.warnings:
            run.warn(warning)
        return result

    def networks(
        self, model: LatentDiffusion, channels: int, slots: NoiseSlots
    ) -> tuple[PictureEncoder, CodedDenoiser]:
        """An untrained encoder, and the model's denoiser with an untrained gradient network, which shifts nothing."""
        with first_weights(self.seed, ENCODING):
            encoder = PictureEncoder(self.numbers).to(model.device)
            gradient = GradientNetwork(channels, self.numbers, self.width).to(model.device)
        prompt = model.embed([""])
        return encoder, CodedDenoiser(lambda x, t: model.predict(x, t, prompt), gradient, model.schedule, slots)

    def forget(self, run: Run) -> None:
        """Drops what a run kept to go on from; to be called once its result is safe."""
        run.drop_state(TRAINING)

    @torch.no_grad()
    def _latents(self, model: LatentDiffusion, images: ImageSet) -> Float[Tensor, "n c h w"]:
        found = torch.cat([model.encode(part) for part in images.pixels.split(self.at_once)])
        return found.float()

    @torch.no_grad()
    def _codes(self, encoder: PictureEncoder, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n z"]:
        codes = torch.cat([encoder(part) for part in pixels.split(self.at_once)])
        if not bool(codes.isfinite().all()):
            raise IntaglioError(f"{self.name} gives numbers that are not finite; give a lower --learning-rate")
        return codes
