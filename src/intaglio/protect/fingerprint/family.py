"""Marks: a fingerprint that its owner's key finds again, in pixels, a drawing's noise or the weights that decode it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Shaped
from scipy.stats import binom
from torch import Tensor

from intaglio.errors import BadInput, require
from intaglio.models.capabilities import Encodes, HasWeights, PredictsNoise, ReadsPrompts, check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion, unit_noise
from intaglio.protect.fingerprint.mark_key import MarkKey
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.sampling.fixed_sampling import sampling_grid
from intaglio.sampling.inversion import inverted
from intaglio.verbs import FileName


class MarkAgreement(NamedTuple):
    """Agreement of n readings with the marks of k users."""

    p: Float[Tensor, "n k"]
    """Chance of so good an agreement without the mark, for one user and one nonce, float64; 0 below the smallest."""
    statistic: Float[Tensor, "n k"]
    """The number that p is the chance of; the family's `null` says under which law."""
    bits: Float[Tensor, "n k"] | None
    """Share of the message's bits that are read right, in [0, 1]; None for marks without a message."""


@dataclass(frozen=True, kw_only=True)
class PictureMark(ABC):
    """A mark: made by a key, and found by it.

    A method is a frozen dataclass of settings. What it reads does not depend on the key, so that one reading serves for
    all users.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """What carries the mark, as the end of a sentence that begins "The mark lies in"."""
    carrier: ClassVar[Literal["pixels", "noise", "weights"]]
    """pixels: put into pictures that are there; noise: into the noise that pictures are drawn from; weights: into the
    decoder that every picture of a model comes from."""
    null: ClassVar[Literal["key", "noise"]]
    """The law that p-values are exact under. key: a key drawn at random, whatever the picture; noise: a reading that is
    unit noise, whatever the key, which inverted pictures are not quite."""
    nonces: ClassVar[bool] = False
    """Whether each picture has a nonce, its seed, that detection must try."""
    bench: ClassVar[Mapping[str, Mapping[str, Any]]] = {"": {}}
    """Settings of its rows in `intaglio bench watermark`, by what their names add to the method's."""
    spared: ClassVar[tuple[str, ...]] = ()
    """Settings that no reading depends on, which are no part of a key."""
    learns_once: ClassVar[bool] = False
    """Whether it learns once for a model, before it marks for any user. It then has a setting `trained`, the file that
    holds what it learnt, or None; the command keeps a copy of the file beside the key, by which pictures are read."""
    needs: ClassVar[tuple[type, ...]] = ()
    """What a model must be able to do (`intaglio.models.capabilities`); nothing where no model is taken."""

    @abstractmethod
    def meant(self, key: MarkKey, users: Sequence[int], shape: Sequence[int]) -> Tensor:
        """The meaning of each user's mark [k, ...]: messages or coefficients, for readings of this shape."""

    @abstractmethod
    def agreement(
        self, readings: Float[Tensor, "n *shape"], meant: Shaped[Tensor, "k *mark"], key: MarkKey, nonce: int = 0
    ) -> MarkAgreement:
        """Agreement of readings with what k users' marks mean, for one nonce where the mark has nonces."""

    @property
    def least_p(self) -> float:
        """The smallest p that a reading can have for one user and one nonce; 0 where there is none to speak of."""
        return 0.0

    def check_shape(self, shape: Sequence[int], what: str) -> None:  # noqa: B027 - some marks fit anywhere
        """Raises `BadInput` for a picture or latents, named by `what`, that are too small for the mark."""


@dataclass(frozen=True, kw_only=True)
class PixelMark(PictureMark, ABC):
    """A mark that is put into pixels; it needs no model."""

    carrier = "pixels"

    @abstractmethod
    def embed(self, pixels: Float[Tensor, "n 3 h w"], key: MarkKey, user: int) -> Float[Tensor, "n 3 h w"]:
        """The pixels in [0, 1] with the mark."""

    @abstractmethod
    def read(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n *shape"]:
        """The reading of pixels in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class NoiseMark(PictureMark, ABC):
    """A mark in the noise that a picture is drawn from, read by inverting the sampling (DDIM, empty prompt).

    How well it is read hangs on the inversion: with guidance, and through the autoencoder, little of the noise comes
    back. The model must be the one that drew.
    """

    carrier = "noise"
    needs = (Encodes, ReadsPrompts, PredictsNoise)
    spared = ("micro_batch",)

    inversion_steps: int = 20
    """Steps of DDIM of the inversion, from 1; more than the drawing's are of little use."""
    micro_batch: int = 64
    """Rows in one call of the network, from 1; lower it when memory is short, the result stays."""

    def __post_init__(self) -> None:
        for name in ("inversion_steps", "micro_batch"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")

    @abstractmethod
    def marked(
        self, noise: Float[Tensor, "n c h w"], key: MarkKey, user: int, seeds: Sequence[int]
    ) -> Float[Tensor, "n c h w"]:
        """Unit noise, which each seed gave, with the mark."""

    def start(self, shape: Sequence[int], key: MarkKey, user: int, seeds: Sequence[int]) -> Float[Tensor, "n c h w"]:
        """First latents of pictures of these seeds: the noise that they give without a mark, marked."""
        noise = unit_noise(shape, [torch.Generator().manual_seed(seed) for seed in seeds])
        return self.marked(noise, key, user, seeds)

    def read(self, model: LatentDiffusion, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c hl wl"]:
        """The noise that pictures in [0, 1], of the model's resolution, would have been drawn from."""
        with torch.no_grad(), model.frozen():
            latents = torch.cat([model.encode(one).cpu() for one in pixels.split(16)])
            text, grid = model.embed([""]).detach(), sampling_grid(model, self.inversion_steps)
            return inverted(model, latents, text, grid, micro_batch=self.micro_batch)

    def calls(self) -> Calls:
        """Rows through networks that reading one picture takes."""
        return Calls(forward=self.inversion_steps, decodes=1)


@dataclass(frozen=True, kw_only=True)
class WeightMark(PictureMark, ABC):
    """A mark in the weights of a model's decoder: all pictures of the model carry it, and it is read from pixels alone.

    Nothing is asked of who draws, and nothing is added when a picture is drawn. Who has the weights may take another
    decoder, and the mark with it.
    """

    carrier = "weights"
    needs = (Encodes, HasWeights)

    def check_model(self, model: LatentDiffusion) -> None:
        """Raises `BadInput` for a model that the mark cannot be put into, before any work."""
        check_needs(self, model)

    def ready(
        self,
        model: LatentDiffusion,
        latents: Float[Tensor, "n c hl wl"],
        folder: Path,
        *,
        seed: int = 0,
        run: Run = Run.none(),
    ) -> "WeightMark":
        """The mark as it can be applied and read: itself, or one that has learnt what it learns once for all users.

        Args:
            model: left as it was found.
            latents: of pictures such as the model draws.
            folder: where what is learnt is written.
            seed: of batches.
            run: progress and states; a killed call goes on and gives the same bits.

        Raises:
            BadInput: for a model that it cannot mark, and for a file of another model.
            IntaglioError: for a loss that is not finite.
        """
        return self

    @property
    @abstractmethod
    def updates_made(self) -> int:
        """Updates of the decoder's weights for one user, and before, where the mark has yet to learn."""

    @abstractmethod
    def one_update(self) -> "WeightMark":
        """The same mark with one update, which is timed."""

    @abstractmethod
    def apply(
        self,
        model: LatentDiffusion,
        latents: Float[Tensor, "n c hl wl"],
        key: MarkKey,
        user: int,
        *,
        seed: int = 0,
        run: Run = Run.none(),
    ) -> LatentDiffusion:
        """A model of which the decoder alone differs, so that its pictures carry the user's mark.

        Args:
            model: left as it was found.
            latents: of pictures such as the model draws, which the decoder is changed on.
            key: the secret.
            user: whose mark it is, from 0.
            seed: of batches.
            run: progress and states; a killed call goes on and gives the same bits.

        Raises:
            BadInput: for a model without a decoder of its own.
            IntaglioError: for a loss that is not finite.
        """

    @abstractmethod
    def read(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n *shape"]:
        """The reading of pixels in [0, 1]."""


def bit_agreement(read: Bool[Tensor, "n m"], meant: Bool[Tensor, "k m"]) -> MarkAgreement:
    """Agreement of n read messages with k meant ones; p is the upper tail of Binomial(m, 1/2), exact over keys."""
    count = meant.shape[1]
    ones, marks = read.double(), meant.double()
    right = (ones @ marks.T + (1 - ones) @ (1 - marks).T).round()
    return MarkAgreement(upper_tail(right, count), right, right / count)


def upper_tail(right: Tensor, count: int) -> Float[Tensor, "*shape"]:
    """Chance that `right` bits or more of `count` agree with a uniform key."""
    return torch.as_tensor(binom.sf(right.numpy() - 1, count, 0.5), dtype=torch.float64)


def check_bits(found: int, wanted: int, what: str, remedy: str) -> None:
    """Raises `BadInput` where `what` has room for `found` bits, fewer than are wanted."""
    if found < wanted:
        bits = "1 bit" if found == 1 else f"{found} bits"
        raise BadInput(f"{what} has room for {bits} of the {wanted} that the mark wants; {remedy}")
