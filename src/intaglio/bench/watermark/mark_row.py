"""One row of the watermark bench: a mark, its pictures under every attack, its null rows and its forgeries."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.bench.kit.attacks import ATTACKS, attacked
from intaglio.bench.kit.embedded_encoder import embedded_encoder
from intaglio.images.filters import blurred
from intaglio.images.image_set import to_uint8
from intaglio.metrics.distributions import kernel_distance, stretched
from intaglio.metrics.quality import psnr
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.fingerprint.family import NoiseMark, PictureMark, PixelMark, WeightMark
from intaglio.protect.fingerprint.mark_key import MarkKey
from intaglio.protect.fingerprint.marked_model import encoded
from intaglio.sampling.loop import sample
from intaglio.sampling.start import GivenLatents, latent_shape_of

Pictures = Float[Tensor, "n 3 h w"]
USERS = 1024
"""Users that a mark is told apart among."""
OTHER_USER = 1
"""User of a mark in weights beside user 0; each takes a model of its own."""
FORGED_FROM = 10
"""Pictures of one user that a forger has."""


@dataclass(frozen=True, eq=False)
class MarkScene:
    """All that rows of the bench have in common: the pictures without a mark, and the way to draw."""

    model: LatentDiffusion
    real: Pictures
    """Of people, none of them marked."""
    prompts: tuple[str, ...]
    """Of the drawings, one each."""
    steps: int
    guidance: float
    seed: int
    keys: int
    """Keys that unmarked pictures are held against."""
    learned: Float[Tensor, "m 3 hm wm"] | None = None
    """Real pictures that decoders are tuned on; None takes `real`."""

    def drawn(
        self,
        seeds: Sequence[int],
        start: Float[Tensor, "n c hl wl"] | None = None,
        shift: int = 0,
        model: LatentDiffusion | None = None,
        places: Sequence[int] | None = None,
    ) -> Pictures:
        """8-bit drawings of the prompts, those `shift` places on, from latents or the seeds' own noise.

        `model` draws in place of the scene's own; `places` are those of the prompts, the first ones where None.
        """
        first = range(len(seeds)) if places is None else places
        texts = [self.prompts[(place + shift) % len(self.prompts)] for place in first]
        given = None if start is None else GivenLatents(start)
        options = {"steps": self.steps, "guidance_scale": self.guidance, "start": given}
        return to_uint8(sample(model or self.model, texts, list(seeds), **options).pixels).float() / 255

    @cached_property
    def unmarked(self) -> Pictures:
        """Drawings of the same prompts and other seeds, without a mark."""
        first = self.seed + len(self.prompts)
        return self.drawn(range(first, first + len(self.prompts)))

    @cached_property
    def other_unmarked(self) -> Pictures:
        """Drawings of further seeds, which the floor of a distance is measured by."""
        first = self.seed + 2 * len(self.prompts)
        return self.drawn(range(first, first + len(self.prompts)))


@dataclass(frozen=True, eq=False)
class MarkRow:
    """A mark at work on a scene. The first half of its pictures are user 0's, each other one is a user's of its own.

    Of a mark in weights the others are those of one more user. Decoders are tuned on real pictures, and decode
    drawings.
    """

    mark: PictureMark
    scene: MarkScene

    @property
    def key(self) -> MarkKey:
        """The key of the marked pictures."""
        return MarkKey.of_seed(self.scene.seed)

    @cached_property
    def users(self) -> list[int]:
        """Of each picture."""
        count = len(self.scene.prompts)
        if isinstance(self.mark, WeightMark):
            return [0 if place < count // 2 else OTHER_USER for place in range(count)]
        return [0 if place < count // 2 else place for place in range(count)]

    @cached_property
    def seeds(self) -> list[int]:
        """Of each picture, its nonce where the mark has nonces."""
        return [self.scene.seed + place for place in range(len(self.users))]

    @cached_property
    def marked(self) -> Pictures:
        """The pictures with their marks: real ones, or drawings."""
        if isinstance(self.mark, PixelMark):
            given = self.scene.real[: len(self.users)]
            every = [self.mark.embed(one[None], self.key, user) for one, user in zip(given, self.users, strict=True)]
            return to_uint8(torch.cat(every)).float() / 255
        if isinstance(self.mark, WeightMark):
            return self._by_marked_models(cast(WeightMark, self.able))
        if not isinstance(self.mark, NoiseMark):
            raise TypeError(f"{self.mark.name} marks neither pixels nor noise")
        shape = latent_shape_of(self.scene.model)
        mark, pairs = self.mark, zip(self.users, self.seeds, strict=True)
        start = torch.cat([mark.start(shape, self.key, user, [seed]) for user, seed in pairs])
        return self.scene.drawn(self.seeds, start)

    @cached_property
    def able(self) -> PictureMark:
        """The mark as it can be read, with what it learns once for all users, where it does."""
        if not isinstance(self.mark, WeightMark):
            return self.mark
        began = time.monotonic()
        with TemporaryDirectory() as folder:
            found = self.mark.ready(self.scene.model, self._latents, Path(folder), seed=self.scene.seed)
            self.seconds["once_s"] = time.monotonic() - began
            with torch.no_grad():
                found.read(self.plain[:1])  # it keeps in memory what its file held
        return found

    @cached_property
    def seconds(self) -> dict[str, float]:
        """Of a mark in weights: of what it learns once, and of the last user's model."""
        return {}

    @cached_property
    def _latents(self) -> Float[Tensor, "m c hl wl"]:
        """Of the real pictures that decoders are tuned on."""
        model, scene = self.scene.model, self.scene
        with torch.no_grad(), model.frozen():
            return encoded(model, scene.real if scene.learned is None else scene.learned)

    def _by_marked_models(self, mark: WeightMark) -> Pictures:
        """Drawings of the same seeds and prompts as `plain`, each by its user's model."""
        model, found = self.scene.model, torch.zeros_like(self.plain)
        for user in sorted(set(self.users)):
            places = [place for place, one in enumerate(self.users) if one == user]
            began = time.monotonic()
            changed = mark.apply(model, self._latents, self.key, user, seed=self.scene.seed)
            self.seconds["user_s"] = time.monotonic() - began
            found[places] = self.scene.drawn([self.seeds[k] for k in places], model=changed, places=places)
        return found

    @cached_property
    def plain(self) -> Pictures:
        """The pictures without their marks: real ones, or drawings of the same seeds."""
        return self.scene.real[: len(self.users)] if self._in_pixels else self.scene.drawn(self.seeds)

    @property
    def _in_pixels(self) -> bool:
        return isinstance(self.mark, PixelMark)

    @torch.no_grad()
    def read(self, pictures: Pictures) -> Tensor:
        """The readings of pictures."""
        if isinstance(self.mark, NoiseMark):
            return self.mark.read(self.scene.model, pictures)
        if isinstance(mark := self.able, PixelMark | WeightMark):
            return mark.read(pictures)
        raise TypeError(f"{self.mark.name} reads neither pixels nor noise")

    def under(self, attack: str) -> dict[str, Any]:
        """Readings of the marked pictures after an attack: p-values, right bits, and whether the owner is likeliest."""
        marked, began = self.marked, time.monotonic()
        readings = self.read(attacked(attack, marked, self.scene.model, self.scene.seed))
        seconds = (time.monotonic() - began) / len(readings)
        meant = self.mark.meant(self.key, range(USERS), readings.shape[1:])
        p, bits, likeliest, least = [], [], [], []
        for reading, user, seed in zip(readings, self.users, self.seeds, strict=True):
            found = self.mark.agreement(reading[None], meant, self.key, seed)
            p.append(float(found.p[0, user]))
            bits.append(None if found.bits is None else float(found.bits[0, user]))
            likeliest.append(int(found.p[0].argmin()) == user)
            least.append(float(found.p[0].min()))
        return {"attack": attack, "p": p, "bits": bits, "likeliest": likeliest, "least": least, "seconds": seconds}

    def nulls(self) -> dict[str, list[list[float]]]:
        """p-values [pictures][keys] of pictures without the mark: real, drawn, and marked under other keys."""
        groups = {"real": self.scene.real, "drawn": self.scene.unmarked, "other key": self.marked}
        found = {}
        for name, pictures in groups.items():
            readings = self.read(pictures)
            columns = []
            for number in range(self.scene.keys):
                key = MarkKey.of_seed(self.scene.seed + 1 + number)
                meant = self.mark.meant(key, [number], readings.shape[1:])
                columns.append(self.mark.agreement(readings, meant, key, self.scene.seed + number).p[:, 0])
            found[name] = torch.stack(columns, 1).tolist()
        return found

    def quality(self) -> dict[str, float | None]:
        """The mark's cost: PSNR of pixels, dB; for drawings their kernel distance from unmarked ones, and its floor.

        The floor is the distance of two unmarked sets of the same prompts and other seeds. Of a mark in weights, both:
        its drawings have unmarked twins; and the seconds that it took once, and for a user.
        """
        alike: dict[str, float | None] = {}
        if not isinstance(self.mark, NoiseMark):
            alike["psnr"] = float(psnr(self.marked, self.plain).mean())
        if self._in_pixels:
            return alike
        sets = (self.marked, self.scene.unmarked, self.scene.other_unmarked)
        mine, other, third = (self._descriptors(pictures) for pictures in sets)
        return {
            **alike,
            **self.seconds,
            "kid": kernel_distance(mine, other),
            "kid_floor": kernel_distance(third, other),
        }

    def forgeries(self) -> dict[str, list[float]]:
        """p-values that pictures by who has no key get, by the way that they were forged; they are to be large.

        copied: what user 0's pictures have in common, put into another: the mean of pixels less their blurred selves,
        or of the noise that they are read as. redrawn: another prompt, drawn from the noise of one of them.
        """
        mine = self.marked[: len(self.users) // 2][:FORGED_FROM]
        if not isinstance(self.mark, NoiseMark):
            common = (mine - blurred(mine, 1.0)).mean(0)
            forged = (self.scene.real[-len(mine) :] + common).clamp(0, 1)
            return {"copied": self._own(self.read(to_uint8(forged).float() / 255), [0] * len(mine))}
        readings, seeds = self.read(mine), self.seeds[: len(mine)]
        mean = readings.mean(0) / readings.mean(0).std()
        copied = self.scene.drawn(seeds, mean.expand_as(readings), shift=1)
        redrawn = self.scene.drawn(seeds, readings / readings.flatten(1).std(1).view(-1, 1, 1, 1), shift=1)
        return {name: self._own(self.read(one), seeds) for name, one in (("copied", copied), ("redrawn", redrawn))}

    def _own(self, readings: Tensor, seeds: Sequence[int]) -> list[float]:
        """p-values of user 0's mark, each with its seed."""
        meant = self.mark.meant(self.key, [0], readings.shape[1:])
        pairs = zip(readings, seeds, strict=True)
        return [float(self.mark.agreement(reading[None], meant, self.key, seed).p) for reading, seed in pairs]

    def _descriptors(self, pictures: Pictures) -> np.ndarray:
        encoder = embedded_encoder(str(self.scene.model.device))
        return stretched(encoder.embed(pictures).cpu().numpy())

    def measured(self) -> dict[str, Any]:
        """All that is known of the row."""
        return {
            "attacks": [self.under(name) for name in ATTACKS],
            "nulls": self.nulls(),
            "quality": self.quality(),
            "forgeries": self.forgeries(),
        }
