"""wouaf: a decoder trained once for all messages, which scale its weights; a user's model is baked in a second."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intaglio.errors import BadInput, require
from intaglio.learning.settings import CosineSettings
from intaglio.models import testbed
from intaglio.models.capabilities import check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.fingerprint.decoder_tuning import decoder_of, with_own_decoder
from intaglio.protect.fingerprint.family import MarkAgreement, WeightMark, bit_agreement
from intaglio.protect.fingerprint.keyed_decoder import keyed_layers
from intaglio.protect.fingerprint.keyed_file import KeyedDecoder, new_keyed_parts
from intaglio.protect.fingerprint.keyed_training import KeyedTraining
from intaglio.protect.fingerprint.mark_key import MarkKey
from intaglio.runs.run import Run

MOST_BITS = 32
"""Logits of the embedded extractor, which the reader begins as."""
LEAST_SIDE = 16
"""Pixels along the shorter side of a picture, at least."""
WARMUP = 20
"""Updates over which the learning rate rises, at most a tenth of all."""

OF_TRAINING = ("updates", "learning_rate", "rows", "sharpness", "nearness", "hardened")
"""Settings of the one training."""


@dataclass(frozen=True, kw_only=True)
class WOUAF(WeightMark):
    """WOUAF: a decoder trained once for all messages, whose scales give each user a model.

    A message f of b bits goes through a map to scales a(f) of each ResNet convolution, and of q, k and v of attention,
    in the decoder, one for each channel that the layer takes: W'[o, i] = W[o, i] a_i(f). The scales begin at 1. The
    decoder, the map and a reader R, from pictures to b logits, learn together on latents z of pictures, each with a
    message drawn at random, with dec0 the decoder as it was:

        BCE(sharpness R(dec_f(z)), f) + nearness distance(dec_f(z), dec0(z))

    With `hardened` every other update reads its pictures after JPEG of a random quality, 40 to 95, through which
    gradients pass as if it were not there. A user's message is then put into the weights, in float32, and the model is
    one like any other. Bit i is read as 1 where logit i is above 0, and p = P(B >= c) for B ~ Binomial(b, 1/2), which
    is exact over keys, whatever the reader is worth.

    Of the mean of two users' weights the bits that both have in common are read, and the others fall either way. Every
    other decoder, such as the original one, washes the mark out.

    Source: arXiv 2306.04744. There b = 32, 50,000 updates of 32, a ResNet-50 as the reader, LPIPS to the pictures
    themselves, a map of two layers of 128, and rotations, crops and further attacks in the loop. Here the reader begins
    as the embedded extractor, the distance is that of `stable-signature`, what the two layers give is added to the bits
    themselves, and JPEG alone stands in the loop.
    """

    reading: ClassVar[str] = "textures that scales of the decoder's weights leave, read by a network trained along"
    null = "key"
    spared = ("trained", *OF_TRAINING)
    learns_once = True

    trained: Path | None = None
    """File that an earlier run of this mark trained for a model with the same autoencoder, `wouaf.safetensors`; none
    takes the one beside the key, or trains where there is none."""
    bits: int = 16
    """Length b of the message, 1 to 32. Fewer are read more safely, and tell fewer users apart."""
    updates: int = 1200
    """Updates of the one training, at least 1."""
    learning_rate: float = 5e-4
    """Highest learning rate of AdamW, above 0, of the decoder; the layers that give scales take twice as much, the rest
    of the map and the reader a tenth. It rises over a tenth of the updates, at most 20, and falls along half a cosine.
    """
    rows: int = 4
    """Latents of an update, at least 1, each with a message of its own."""
    sharpness: float = 3.0
    """Factor of the logits in the loss, above 0: the lower, the further beyond 0 they are driven."""
    nearness: float = 1.5
    """Weight of the distance from the pictures of the decoder as it was, 0 or more: the higher, the less is seen, and
    the less is read."""
    hardened: bool = True
    """Whether the mark is trained to be read after JPEG, too."""

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
        """Raises `BadInput` for pictures that are too small for the reader."""
        if min(shape[-2:]) < LEAST_SIDE:
            raise BadInput(
                f"{what} has {shape[-1]}x{shape[-2]} pixels, and the reader takes {LEAST_SIDE} a side or more; "
                "leave it out"
            )

    @property
    def updates_made(self) -> int:
        """Updates of the decoder's weights: those of the training, or none where it was trained before."""
        return self.updates if self.trained is None else 0

    def one_update(self) -> "WOUAF":
        """The same mark with one update of an untrained decoder, which is timed."""
        return replace(self, updates=1, trained=None)

    def check_model(self, model: LatentDiffusion) -> None:
        """Raises `BadInput` for a decoder that cannot be scaled, and where the file is another model's.

        Settings of the training, which is made, must be those of the file, or the defaults.
        """
        check_needs(self, model)
        keyed_layers(model)
        if self.trained is None:
            return
        self._keyed.check_model(model)
        for one in fields(self):
            known = (one.default, self._keyed.settings.get(one.name))
            if one.name in OF_TRAINING and getattr(self, one.name) not in known:
                flag = one.name.replace("_", "-")
                raise BadInput(f"{self.trained} is trained already, so --{flag} would have no effect; leave it out")

    def ready(
        self,
        model: LatentDiffusion,
        latents: Float[Tensor, "n c hl wl"],
        folder: Path,
        *,
        seed: int = 0,
        run: Run = Run.none(),
    ) -> "WOUAF":
        """Trains decoder, map and reader where no file was given, and writes them into the folder; see the family."""
        self.check_model(model)
        if self.trained is not None:
            return self
        keys, reader = new_keyed_parts(model, testbed.extractor(), self.bits, seed)
        changed = with_own_decoder(model, f"{model.name} by {self.name}")
        settings = CosineSettings(steps=self.updates, learning_rate=self.learning_rate, warmup=WARMUP)
        with model.frozen():
            about = (self.sharpness, self.nearness, self.rows, self.hardened, seed)
            KeyedTraining(model, changed, keys, reader, latents, *about).run_through(settings, run)
        decoder = decoder_of(changed).state_dict()
        learnt = {name: value for name, value in asdict(self).items() if name != "trained"}
        path = folder / f"{self.name}.safetensors"
        KeyedDecoder(model.part_fingerprint("autoencoder"), decoder, keys, reader, learnt).save(path)
        return replace(self, trained=path)

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
        """Bakes the user's scales into the trained decoder, of which latents, seed and run are no part; see the family.

        Raises `BadInput` for a mark that is not trained yet, and for one that was trained for another autoencoder.
        """
        check_needs(self, model)
        keyed, (message,) = self._keyed, self.meant(key, [user], ())
        return keyed.baked(model, keyed.scales(message), f"{model.name} by {self.name}")

    def read(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n b"]:
        """The reader's logits. Raises `BadInput` for a mark that is not trained yet."""
        return self._keyed.reader.to(pixels.device)(pixels.float())

    def meant(self, key: MarkKey, users: Sequence[int], shape: Sequence[int]) -> Bool[Tensor, "k b"]:
        """The users' messages."""
        return torch.stack([key.bits(self.bits, "message", user) for user in users])

    def agreement(
        self, readings: Float[Tensor, "n b"], meant: Bool[Tensor, "k b"], key: MarkKey, nonce: int = 0
    ) -> MarkAgreement:
        """Agreement of the logits' signs with the users' messages."""
        return bit_agreement(readings > 0, meant)

    @cached_property
    def _keyed(self) -> KeyedDecoder:
        """The content of the trained file. Raises `BadInput` without one, and for one of other messages."""
        if self.trained is None:
            raise BadInput(f"{self.name} marks and reads by what it was trained to; give its file, with --trained")
        found = KeyedDecoder.load(self.trained)
        if found.bits != self.bits:
            raise BadInput(f"{self.trained} is of {found.bits} bits, and --bits of {self.bits}; give the same")
        return found
