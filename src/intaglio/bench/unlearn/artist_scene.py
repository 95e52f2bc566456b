"""An artist to unlearn: the prompts of the concept, of what takes its place and of what stays, and what is measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.unlearning.attack.picture_judges import CalibratedJudge, ClassifierScore
from intaglio.audit.unlearning.concept import Concept
from intaglio.audit.unlearning.prompt_evidence import prompt_evidence
from intaglio.bench.kit.embedded_encoder import embedded_encoder
from intaglio.denoising.examples import Examples
from intaglio.images.image_set import ImageSet
from intaglio.metrics.distributions import Descriptors, kernel_distance, stretched
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.loop import sample

ARTISTS = ("openmoji", "twemoji")
"""Artists of the base that its own pictures are told by; each is the other's neighbour."""
ANCHOR = "fluent"
"""The artist that takes the place of the unlearned one."""
HEAD = "artist"
LEARNED = 8
"""Names whose prompts are unlearned, each in its artist's style; the figures are of other names."""
GUIDANCE = 3.0
"""Guidance scale of all pictures that are judged."""
AT_ONCE = 8

Pictures = Float[Tensor, "n 3 h w"]


@dataclass(frozen=True)
class ArtistScene:
    """One artist to unlearn."""

    artist: str
    names: tuple[str, ...]
    """Names whose pictures are judged, none of them unlearned by name."""
    each: int
    """Pictures of each."""
    steps: int
    """Steps of DDIM of a picture."""
    seed: int

    @classmethod
    def of(cls, artist: str, count: int, each: int, steps: int, seed: int) -> "ArtistScene":
        """With `count` names, spread over those of the base's training set."""
        taken = set(learned())
        others = [name for name in subjects() if name not in taken]
        return cls(artist, tuple(others[:: len(others) // count][:count]), each, steps, seed)

    @property
    def neighbour(self) -> str:
        """The artist that is to stay."""
        return next(one for one in ARTISTS if one != self.artist)

    @property
    def concept(self) -> Concept:
        """The artist by eight names; in their place the anchor's, and the neighbour's kept."""
        return Concept(*(in_style(learned(), one) for one in (self.artist, ANCHOR, self.neighbour)))

    @property
    def anchors(self) -> tuple[str, ...]:
        """Prompts whose pictures the judge is calibrated on."""
        return in_style(self.names, ANCHOR)

    def prompts(self, artist: str) -> tuple[str, ...]:
        """Prompts of all judged pictures."""
        return in_style(self.names, artist) * self.each

    def drawn(self, model: LatentDiffusion, artist: str, shift: int = 0) -> Pictures:
        """A model's pictures of the judged names in a style; `shift` takes other seeds."""
        prompts = self.prompts(artist)
        first = self.seed + shift * len(prompts)
        seeds = list(range(first, first + len(prompts)))
        return (
            sample(model, prompts, seeds, steps=self.steps, guidance_scale=GUIDANCE, batch=AT_ONCE).pixels.float().cpu()
        )

    def real(self, artist: str, count: int) -> ImageSet:
        """Pictures by an artist of the base's training set, with captions; of the last of its names."""
        images = testbed.real_pictures()
        its = [k for k, caption in enumerate(images.captions or ()) if str(caption).endswith(f", {artist} style")]
        return images[its[-count:]]

    @cached_property
    def score(self) -> ClassifierScore:
        """The number that pictures of the artist are judged by."""
        return ClassifierScore(testbed.classifier(), HEAD, self.artist)

    def figures(self, model: LatentDiffusion, judge: CalibratedJudge, neighbours: Descriptors) -> dict[str, Any]:
        """Figures of a model: the artist and the neighbour that are left in it.

        `neighbours` are descriptors of the original's pictures of the neighbour's prompts, of the same seeds.
        """
        shown, kept = judge(self.drawn(model, self.artist)), self.drawn(model, self.neighbour)
        classes = judged_classes(kept)
        return {
            "concept": float(shown.float().mean()),
            "neighbour": sum(one == self.neighbour for one in classes) / len(classes),
            "kid": kernel_distance(described(kept), neighbours),
            "loss_concept": self.loss(model, self.artist),
            "loss_neighbour": self.loss(model, self.neighbour),
        }

    def loss(self, model: LatentDiffusion, artist: str) -> float:
        """Mean denoising loss of real pictures by an artist, under their captions."""
        images = self.real(artist, len(self.names))
        asked = Examples.of(model, images, [str(caption) for caption in images.captions or ()])
        none = [""] * len(images)
        return float(prompt_evidence(model, asked.latents, asked.prompts, none, seed=self.seed).under.mean())


def described(pixels: Pictures) -> Descriptors:
    """Descriptors of pictures by the embedded encoder, whose kernel distance is a proxy of KID."""
    return stretched(embedded_encoder("cpu").embed(pixels).double().numpy())


@cache
def subjects() -> tuple[str, ...]:
    """Names of the base's training pictures, each once."""
    return tuple(str(caption).rpartition(", ")[0] for caption in testbed.real_pictures().captions or ())


def learned() -> tuple[str, ...]:
    """The names whose prompts are unlearned."""
    every = subjects()
    return every[len(every) // (2 * LEARNED) :: len(every) // LEARNED][:LEARNED]


def in_style(names: Sequence[str], artist: str) -> tuple[str, ...]:
    """The names as prompts of the base."""
    return tuple(f"{name}, {artist} style" for name in names)


@torch.no_grad()
def judged_classes(pixels: Pictures) -> list[str]:
    """The likeliest artist of each picture, to the embedded classifier."""
    classifier = testbed.classifier()
    return [classifier.classes[HEAD][int(place)] for place in classifier.logits(pixels, HEAD).argmax(1)]
