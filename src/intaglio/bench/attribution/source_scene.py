"""Sources of the attribution bench: known ones with pictures that teach and pictures that test, and unknown ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from intaglio.adapt.data import TrainingSet
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.bench.kit.suspects import PAPER
from intaglio.flow.methods.sequential import SequentialDecoder
from intaglio.flow.sampling import sample_flow
from intaglio.images.image_set import ImageSet, to_uint8
from intaglio.learning.settings import CosineSettings
from intaglio.learning.step_randomness import batch_at
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.models.flow.shipped import open_flow
from intaglio.protect.fingerprint.decoder_tuning import DecoderTuning, picture_distance, with_own_decoder
from intaglio.protect.fingerprint.marked_model import encoded
from intaglio.randomness import generator, seed_32bit
from intaglio.runs.run import Run
from intaglio.sampling.loop import sample

KNOWN = ("base-ddim", "base-dpm", "decoder-tuned", "flow-small", "lora-a", "lora-b", "real", "real-decoded")
"""Sources that methods are fitted to, in the order of their names."""
UNKNOWN: Mapping[str, str] = {
    "base-euler-a": "sampler",
    "decoder-other-seed": "seed",
    "flow-tiny": "architecture",
    "lora-c": "data",
    "real-other-artist": "data",
    "straight-path": "architecture",
}
"""Sources that no method sees, and what each differs in from a known one."""
TAUGHT = 0.7
"""Share of a known source's pictures that a method is given; the others test."""
GUIDANCE = 3.0
SETS = {"lora-a": "mammals", "lora-b": "vehicles", "lora-c": "meals"}
"""Few-shot sets that LoRAs are tuned on, by the held-out artist."""
DECODER_ROWS, DECODER_RATE, DECODER_STREAM = 4, 5e-4, "decoder"
"""Latents of an update of a decoder, its highest learning rate, and the label by which `DecoderTuning` draws rows."""

Pictures = Float[Tensor, "n 3 h w"]


@dataclass(frozen=True, eq=False)
class SourceScene:
    """All sources, each of as many pictures of 8 bits; captions of known ones that teach are no others' captions."""

    base: LatentDiffusion
    each: int
    """Pictures of a source."""
    tuned: int
    """Updates of a LoRA."""
    decoded: int
    """Updates of a decoder."""
    steps: int
    """Of DDIM, the ancestral sampler and the straight path."""
    seed: int

    @property
    def taught(self) -> int:
        """Pictures of a known source that a method is given."""
        return round(TAUGHT * self.each)

    @cached_property
    def real(self) -> ImageSet:
        """All pictures of the base's artists that there are, in an order by chance: the first are the source's."""
        images = testbed.real_pictures()
        return images[torch.randperm(len(images), generator=generator(self.seed, "real pictures")).tolist()]

    def prompts(self, name: str) -> list[str]:
        """Of a drawn source: a known one's are those of the real pictures, an unknown one's the tests' in turns."""
        captions = [str(caption) for caption in self.real.captions[: self.each]]
        if name in KNOWN:
            return captions
        tests = captions[self.taught :]
        return [tests[k % len(tests)] for k in range(self.each)]

    def pictures(self, name: str) -> Pictures:
        """Pictures of a source in [0, 1], as 8-bit files have them."""
        return to_uint8(self._pictures(name)).float() / 255

    def _pictures(self, name: str) -> Pictures:
        ways: dict[str, Callable[[], Pictures]] = {
            "real": lambda: self.real.pixels[: self.each],
            "real-decoded": self._through_autoencoder,
            "real-other-artist": self._by_other_artist,
            "base-ddim": lambda: self._drawn(name, self.base),
            "base-dpm": lambda: self._drawn(name, self.base, "dpm++2m", max(1, self.steps // 2)),
            "base-euler-a": lambda: self._drawn(name, self.base, "euler_a"),
            "straight-path": lambda: self._drawn(name, load_model("emoji64-flow", device=self._device), "euler"),
            "flow-small": lambda: self._by_flow(name, "cpu-small"),
            "flow-tiny": lambda: self._by_flow(name, "cpu-tiny"),
            "decoder-tuned": lambda: self._drawn(name, self.with_decoder(self.seed)),
            "decoder-other-seed": lambda: self._drawn(name, self.with_decoder(self.seed + 1)),
        }
        return ways[name]() if name in ways else self._drawn(name, self.with_lora(SETS[name]))

    @property
    def _device(self) -> str:
        return str(self.base.device)

    def _seeds(self, name: str) -> list[int]:
        """No two sources share noise."""
        return [seed_32bit(self.seed, "source", name, k) for k in range(self.each)]

    def _drawn(self, name: str, model: LatentDiffusion, sampler: str = "ddim", steps: int | None = None) -> Pictures:
        options = {"sampler": sampler, "steps": steps or self.steps, "guidance_scale": GUIDANCE, "batch": 16}
        return sample(model, self.prompts(name), self._seeds(name), **options).pixels.float().cpu()

    def _through_autoencoder(self) -> Pictures:
        given = self.real.pixels[: self.each]
        with torch.no_grad(), self.base.frozen():
            latents = encoded(self.base, given)
            parts = [self.base.decode(some.to(self.base.device)).cpu() for some in latents.split(16)]
        return torch.cat(parts)

    def _by_other_artist(self) -> Pictures:
        images = testbed.controls_wide()
        order = torch.randperm(len(images), generator=generator(self.seed, "other artist"))
        return images.pixels[order[: self.each]]

    def _by_flow(self, name: str, flow: str) -> Pictures:
        """A flow's pictures of its classes in turns, enlarged to the size of the others, bicubic."""
        model = open_flow(flow, device=self._device).model
        labels = torch.arange(self.each) % max(1, model.config.num_classes)
        found = sample_flow(model, self._seeds(name), SequentialDecoder(), labels=labels, resample=True)
        size = list(self.real.pixels.shape[-2:])
        return interpolate(found.pictures.pixels.float().cpu(), size, mode="bicubic").clamp(0, 1)

    def models(self) -> dict[str, LatentDiffusion]:
        """The models of known sources, by their names; the flows are none that denoise."""
        base = dict.fromkeys(("base-ddim", "base-dpm"), self.base)
        tuned = {name: self.with_lora(SETS[name]) for name in KNOWN if name in SETS}
        return {**base, "decoder-tuned": self.with_decoder(self.seed), **tuned}

    def with_lora(self, subject: str) -> LatentDiffusion:
        """The base with a LoRA of ten pictures under their captions."""
        options = {"steps": self.tuned, "batch": 4, "learning_rate": 1e-3, "rank": 8, "seed": self.seed}
        tuner = LoRATuning(**options, targets=PAPER.targets)
        return tuner(self.base, TrainingSet(testbed.few_shot(subject).members)).model

    def with_decoder(self, seed: int) -> LatentDiffusion:
        """The base with its decoder tuned on real pictures that are no source's, in batches by the seed."""
        given = self.real.pixels[self.each :].to(self.base.device)
        changed = with_own_decoder(self.base, f"{self.base.name} with another decoder")
        with torch.no_grad(), self.base.frozen():
            latents = encoded(self.base, given).to(self.base.device)

        def aim(pixels: Pictures, step: int) -> Float[Tensor, ""]:
            return picture_distance(
                pixels, given[batch_at(range(len(given)), step, DECODER_ROWS, seed, DECODER_STREAM)]
            )

        settings = CosineSettings(steps=self.decoded, learning_rate=DECODER_RATE, warmup=20)
        with self.base.frozen():
            DecoderTuning(self.base, changed, latents, aim, 0.0, DECODER_ROWS, seed).run_through(settings, Run.none())
        return changed
