"""The imitators of the protection bench: fine-tunes of the embedded base that draw their pictures recognisably."""

from intaglio.adapt.family import FineTuner
from intaglio.adapt.low_rank_tuning import FURTHER_TARGETS
from intaglio.adapt.methods.dreambooth import DreamBooth
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.bench.kit.embedded_encoder import embedded_encoder
from intaglio.bench.kit.suspects import PROMPT, Tuner
from intaglio.images.image_set import ImageSet
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.lora.lora import DENOISER_TARGETS
from intaglio.protect.imitation import Imitator
from intaglio.protect.latent_similarity import latent_similarity

FINE_TUNES: dict[Tuner, FineTuner] = {
    "dreambooth": DreamBooth(steps=150, batch=4, learning_rate=2e-4),
    "lora": LoRATuning(steps=150, batch=4, learning_rate=4e-3, rank=8, targets=(*DENOISER_TARGETS, *FURTHER_TARGETS)),
}
"""Chosen on `hands`, which no default set is, for drawings that are like clean pictures whatever the seed, at a cost
that many fine-tunes allow. Batches of one, and one prompt for all pictures, imitated so weakly that nothing could spoil
it."""


def captioned(images: ImageSet) -> ImageSet:
    """The pictures with the captions of an imitator: each its subject, in the style that is to be learned."""
    captions = [f"{(caption or '').split(',')[0]}, {PROMPT}" for caption in images.captions]
    return ImageSet.from_pixels(images.pixels, images.names, captions)


def imitator(base: LatentDiffusion, tuner: Tuner, subject: str, drawn: int) -> Imitator:
    """The imitator of a set; holdouts from the same draw stand for what nobody trained on."""
    others = testbed.few_shot(subject).holdouts
    return Imitator(base, FINE_TUNES[tuner], PROMPT, latent_similarity(base), drawn=drawn, others=others)


def by_encoder(drawn: ImageSet, originals: ImageSet, device: str) -> float:
    """Unlikeness by the embedded encoder, which sees the subject where latents see texture."""
    return 1 - float(embedded_encoder(device).matrix(drawn.pixels, originals.pixels).max(1).values.mean())
