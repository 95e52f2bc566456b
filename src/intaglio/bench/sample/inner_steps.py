"""Drawings by ILF beside caching and beside fewer full steps, by their distance from the drawing in all steps."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from intaglio.bench.sample.trained_rows import TrainedParts
from intaglio.sampling.calls import Calls
from intaglio.sampling.loop import sample
from intaglio.sampling.methods.ilf import InnerLoopFeedback
from intaglio.sampling.methods.plain import Plain

SCALE, STEPS, BATCH = 4.0, 20, 16
UPDATES = 400
"""Updates of the feedback block."""


def inner_step_figures(parts: TrainedParts, *, quick: bool, seed: int) -> dict[str, float]:
    """Mean squared difference of pixels from 20 full steps of the same noise, and the cost as a share of theirs.

    `ilf` takes an inner step after each full one, `caching` does by a feedback of 0, `fewer` takes as many
    full steps as cost no more than `ilf` does. Cost is by multiplications of the denoiser.
    """
    count = 4 if quick else 32
    captions = [str(caption) for caption in parts.pictures.captions or ()]
    prompts = [captions[k * len(captions) // count] for k in range(count)]
    part = parts.part("ilf", updates=UPDATES, steps=STEPS)
    steps = 6 if quick else STEPS

    def drawn(steps: int, **settings: Any) -> tuple[Any, float]:
        calls, method = Calls(), InnerLoopFeedback(part=part, **settings) if settings else Plain()
        options: Mapping[str, Any] = {"steps": steps, "guidance_scale": SCALE, "method": method, "batch": BATCH}
        pixels = sample(parts.model, prompts, range(seed, seed + count), **options, calls=calls).pixels
        spent = asdict(calls)
        return pixels, (spent["forward"] + spent["thousandths"] / 1000) / count

    whole, cost = drawn(steps)
    figures = {}
    share = 1.0
    for name, settings in (("ilf", {"inner": 1}), ("caching", {"inner": 1, "gamma": 0.0})):
        pixels, spent = drawn(steps, **settings)
        share = spent / cost
        figures |= {f"{name}_difference": float((pixels - whole).square().mean()), f"{name}_cost": share}
    fewer = max(1, int(share * steps))
    pixels, spent = drawn(fewer)
    return figures | {"fewer_difference": float((pixels - whole).square().mean()), "fewer_cost": spent / cost}
