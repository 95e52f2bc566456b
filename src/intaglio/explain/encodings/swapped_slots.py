"""Pictures drawn from encodings, some slots of which are another picture's."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Real
from torch import Tensor

from intaglio.explain.encodings.noise_slots import NoiseSlots
from intaglio.explain.encodings.shifted_noise import CodedDenoiser
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.sampling.guide import GuideContext, Predict
from intaglio.sampling.loop import sample

MOST_PARTS = 2
"""Parts of the slots, early to late, that are swapped by themselves."""


@dataclass(frozen=True, eq=False)
class CodedGuide:
    """The frozen denoiser without a prompt, its noise shifted by a code for each picture."""

    denoiser: CodedDenoiser
    codes: Float[Tensor, "n z"]

    def init(self, context: GuideContext) -> Conditioning:
        """The state is the empty prompt of each picture."""
        return context.embed("")

    def step(
        self, state: Conditioning, latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple[Conditioning, Float[Tensor, "n *shape"]]:
        """The shifted noise; the state never changes."""
        return state, predict(latents, t, state) + self.denoiser.shift(latents, t, self.codes)


def slot_parts(slots: NoiseSlots) -> list[slice]:
    """Numbers of the early and of the late slots; all in one where there is one slot."""
    count = min(MOST_PARTS, len(slots.sizes))
    bounds = [len(slots.sizes) * k // count for k in range(count + 1)]
    ranges = [(slots.place(early), slots.place(late - 1)) for early, late in pairwise(bounds)]
    return [slice(first.start, last.stop) for first, last in ranges]


def swapped_codes(codes: Float[Tensor, "2 z"], slots: NoiseSlots) -> Float[Tensor, "r z"]:
    """Codes of both pictures, then the first one's with each part of the slots taken from the second."""
    rows = [codes[0], codes[1]]
    for part in slot_parts(slots):
        mixed = codes[0].clone()
        mixed[part] = codes[1, part]
        rows.append(mixed)
    return torch.stack(rows)


def swapped_pictures(
    model: LatentDiffusion,
    denoiser: CodedDenoiser,
    codes: Float[Tensor, "n z"],
    seeds: Sequence[int],
    steps: int,
    run: Run = Run.none(),
) -> Float[Tensor, "p r 3 h w"]:
    """Drawings of neighbours in pairs: each picture's code, and the swaps; all of a pair from the noise of one seed.

    Args:
        model: whose denoiser is frozen.
        denoiser: the same one, with its encoding.
        codes: of pictures 1 and 2 of the first pair, of the second pair, and so on.
        seeds: of the pairs.
        steps: of DDIM.
        run: shows the progress.
    """
    drawn = []
    for pair, seed in enumerate(seeds):
        rows = swapped_codes(codes[2 * pair : 2 * pair + 2], denoiser.slots)
        guide = CodedGuide(denoiser, rows)
        empty, same = [""] * len(rows), [seed] * len(rows)
        drawn.append(sample(model, empty, same, steps=steps, guide=guide, batch=len(rows), run=run).pixels)
    return torch.stack(drawn)
