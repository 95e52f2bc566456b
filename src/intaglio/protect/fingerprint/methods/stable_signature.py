"""stable-signature: a decoder tuned so that a small network reads a message from all of its pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from intaglio.errors import BadInput, require
from intaglio.learning.settings import CosineSettings
from intaglio.models import testbed
from intaglio.models.bit_extractors import BitExtractor
from intaglio.models.capabilities import check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.fingerprint.decoder_tuning import DecoderTuning, decoder_of, with_own_decoder
from intaglio.protect.fingerprint.family import MarkAgreement, WeightMark, bit_agreement
from intaglio.protect.fingerprint.jpeg_loop import compressed
from intaglio.protect.fingerprint.mark_key import MarkKey
from intaglio.runs.run import Run

MOST_BITS = 32
"""Logits of the embedded extractor."""
LEAST_SIDE = 16
"""Pixels along the shorter side of a picture, at least."""
WARMUP = 20
"""Updates over which the learning rate rises, at most a tenth of all."""


@dataclass(frozen=True, kw_only=True)
class StableSignature(WeightMark):
    """Stable Signature: a decoder tuned for one message, which an extractor reads from its pictures.

    The extractor D, from pictures to m logits, is trained beforehand with an encoder that hides random messages, under
    attacks, and whitened: over pictures without a mark its logits have mean 0 and covariance I. The decoder alone is
    trained, on latents z of pictures, with dec0 the decoder as it was and k the user's bits:

        BCE(sharpness D(dec(z)), k) + nearness distance(dec(z), dec0(z))

    With `hardened` the first term is the mean of that and of the same after JPEG of a random quality, 40 to 95, through
    which gradients pass as if it were not there.

    Bit i is read as 1 where logit i is above 0, and p = P(B >= b) for B ~ Binomial(m, 1/2), which is exact over keys,
    whatever the extractor is worth. Every other decoder, such as the original one, washes the mark out.

    Source: arXiv 2303.15435 (ICCV 2023). There 48 bits, sharpness 10, 0.2 times a perceptual distance, AdamW at 5e-4
    with 100 updates of 4 at 256 pixels; its whitening takes the sum in place of the mean for the covariance. Here the
    distance is of the embedded encoder's features and of pixels, JPEG stands in the loop, and the extractor is the
    embedded one, which has seen pictures of 64 pixels.
    """

    reading: ClassVar[str] = "textures that the model's decoder was tuned to leave, read by a small network"
    null = "key"
    spared = ("updates", "learning_rate", "rows", "sharpness", "nearness", "hardened")

    bits: int = 16
    """Length m of the message, 1 to 32: the extractor's first logits. Fewer are read more safely, and tell fewer users
    apart."""
    updates: int = 300
    """Updates of the decoder, at least 1."""
    learning_rate: float = 5e-4
    """Highest learning rate of AdamW, above 0; it rises over a tenth of the updates, at most 20, and falls along half a
    cosine."""
    rows: int = 4
    """Latents of an update, at least 1."""
    sharpness: float = 3.0
    """Factor of the logits in the loss, above 0: the lower, the further beyond 0 they are driven. Published: 10."""
    nearness: float = 4.5
    """Weight of the distance from the pictures of the decoder as it was, 0 or more: the higher, the less is seen, and
    the less is read."""
    hardened: bool = True
    """Whether the decoder is tuned to be read after JPEG, too. Published: not."""

    def __post_init__(self) -> None:
        require(1 <= self.bits <= MOST_BITS, f"bits must be 1 to {MOST_BITS}, not {self.bits}")
        for name in ("updates", "rows"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("learning_rate", "sharpness"):
            value = getattr(self, name)
            require(0 < value < float("inf"), f"{name} must be above 0, and finite, not {value}")
        require(0 <= self.nearness < float("inf"), f"nearness must be 0 or more, and finite, not {self.nearness}")

    @property
    def least_p(self) -> float:
        """That of a message that is read right in all its bits."""
        return 2.0**-self.bits

    def check_shape(self, shape: Sequence[int], what: str) -> None:
        """Raises `BadInput` for pictures that are too small for the extractor."""
        if min(shape[-2:]) < LEAST_SIDE:
            raise BadInput(
                f"{what} has {shape[-1]}x{shape[-2]} pixels, and the extractor takes {LEAST_SIDE} a side or more; "
                "leave it out"
            )

    @property
    def updates_made(self) -> int:
        """Updates of the decoder's weights for one user."""
        return self.updates

    def one_update(self) -> "StableSignature":
        """The same mark with one update, which is timed."""
        return replace(self, updates=1)

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
        """Tunes the decoder; see the family."""
        check_needs(self, model)
        decoder_of(model)
        bits = self.meant(key, [user], ())[0].float().to(model.device)

        def aim(pixels: Float[Tensor, "n 3 h w"], step: int) -> Float[Tensor, ""]:
            seen = [pixels, compressed(pixels, seed, step)] if self.hardened else [pixels]
            logits = self.sharpness * torch.cat([self.read(one) for one in seen])
            return binary_cross_entropy_with_logits(logits, bits.expand_as(logits))

        settings = CosineSettings(steps=self.updates, learning_rate=self.learning_rate, warmup=WARMUP)
        changed = with_own_decoder(model, f"{model.name} by {self.name}")
        with model.frozen():
            tuning = DecoderTuning(model, changed, latents, aim, self.nearness, self.rows, seed)
            tuning.run_through(settings, run)
        return changed

    def read(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n m"]:
        """The extractor's logits, differentiable in the pixels."""
        return extractor(str(pixels.device))(pixels.float())[:, : self.bits]

    def meant(self, key: MarkKey, users: Sequence[int], shape: Sequence[int]) -> Bool[Tensor, "k m"]:
        """The users' messages."""
        return torch.stack([key.bits(self.bits, "message", user) for user in users])

    def agreement(
        self, readings: Float[Tensor, "n m"], meant: Bool[Tensor, "k m"], key: MarkKey, nonce: int = 0
    ) -> MarkAgreement:
        """Agreement of the logits' signs with the users' messages."""
        return bit_agreement(readings > 0, meant)


@cache
def extractor(device: str) -> BitExtractor:
    """The embedded extractor on a device."""
    return testbed.extractor().to(device)
