"""Drawings with components of known effect: a LoRA tuned on the target pictures, one of no new ones, and words."""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.adapt.data import TrainingSet
from intaglio.audit.components.drawing_components import Adapter, AddedWords, Drawing, DrawingComponent, with_components
from intaglio.audit.components.family import ComponentAudit
from intaglio.bench.kit.embedded_encoder import embedded_encoder
from intaglio.bench.kit.suspects import PAPER, PROMPT
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator, seed_32bit
from intaglio.sampling.loop import sample

GUILTY, INNOCENT, WORDS = "guilty", "innocent", "words"
KNOWN = 100
"""Pictures that the innocent LoRA is tuned on, of those that the base learned: one of other subjects would draw them
whatever the words, as the embedded base hardly listens to these."""
STEPS = 10
"""Of DDIM, without guidance, which exaggerates what a small model was tuned to."""


@dataclass(frozen=True, eq=False)
class ComponentScene:
    """A few-shot set as target pictures; a LoRA that learnt them, one that learnt nothing new, and the prompt's words.

    Both LoRAs have the dose of the suspects of the membership bench, regime paper.
    """

    base: LatentDiffusion
    subject: str
    seed: int

    @cached_property
    def components(self) -> dict[str, DrawingComponent]:
        """By name."""
        known = testbed.real_pictures()
        some = torch.randperm(len(known), generator=generator(self.seed, "known pictures"))[:KNOWN]
        return {
            GUILTY: self._tuned(TrainingSet(testbed.few_shot(self.subject).members, prompt=PROMPT)),
            INNOCENT: self._tuned(TrainingSet(known[sorted(some.tolist())])),
            WORDS: AddedWords(PROMPT),
        }

    def _tuned(self, data: TrainingSet) -> Adapter:
        found = PAPER.tuner("lora", self.seed)(self.base, data).adapter
        if found is None:
            raise TypeError("a LoRA tuning gave no adapter")
        return Adapter(found)

    def descriptors(self, coalition: int, count: int) -> Float[Tensor, "n d"]:
        """Of pictures with a set of components switched on; without the words the prompt is empty."""
        way = with_components(Drawing(self.base, ("",), 1.0), tuple(self.components.values()), coalition)
        seeds = [seed_32bit(self.seed, "drawn", k) for k in range(count)]
        images = sample(way.model, list(way.prompts) * count, seeds, steps=STEPS, guidance_scale=way.scale)
        return embedded_encoder(str(self.base.device)).embed(images.pixels)

    def rows(self, methods: dict[str, ComponentAudit]) -> dict[str, dict[str, Any]]:
        """Results by method as plain values; every set of components is drawn once for all of them."""
        known: dict[int, Tensor] = {}
        count = max(method.pictures for method in methods.values())

        def draws(coalition: int) -> Tensor:
            if coalition not in known:
                known[coalition] = self.descriptors(coalition, count)
            return known[coalition]

        target = embedded_encoder(str(self.base.device)).embed(testbed.few_shot(self.subject).members.pixels)
        found = {name: method(tuple(self.components), draws, target) for name, method in methods.items()}
        return {
            name: {"total": one.total, "sets": len(one.values), "parts": [asdict(part) for part in one.components]}
            for name, one in found.items()
        }
