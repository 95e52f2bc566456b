"""Audits of the same fine-tune on both embedded models, the U-Net and the flow-matching transformer."""

from collections.abc import Mapping
from typing import Any

import torch

from intaglio.audit.membership.family import Authenticator
from intaglio.bench.kit.suspects import PAPER, PROMPT, fine_tuned, joined
from intaglio.denoising.samples import fixed_samples
from intaglio.images.image_set import ImageSet
from intaglio.metrics.statistics.roc import auc
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model

TESTBEDS = {"unet": "emoji64", "flow": "emoji64-flow"}
"""Embedded models by what their denoiser is."""
LEVELS = 16
"""Noises a picture in the error that tells how far a suspect learned its members."""


def audited(
    testbed: str, name: str, methods: Mapping[str, Authenticator], *, pictures: int | None, seed: int, device: str
) -> dict[str, Any]:
    """AUC by method of one few-shot set, on the LoRA of the authenticate bench's paper regime; and what was learned.

    `pictures` are members, and as many holdouts; None takes all. `fall` is the relative fall of the noise's error on
    members: how much was learned. That on holdouts falls too, as far as the set's manner was learned.
    """
    base = load_model(TESTBEDS[testbed], device=device)
    suspect = fine_tuned(base, PAPER, "lora", name, seed)
    members, holdouts = (part[:pictures] for part in PAPER.questioned(name))
    everyone, count = joined([members, holdouts]), len(members)
    areas = {}
    for key, method in methods.items():
        scores = method(suspect, base, everyone, prompt=PROMPT).scores
        areas[key] = auc(scores[:count], scores[count:])
    falls = [_fall(suspect, base, part, seed) for part in (members, holdouts)]
    return {"testbed": testbed, "set": name, "auc": areas, "fall": falls[0], "fall_of_holdouts": falls[1]}


@torch.no_grad()
def _fall(suspect: LatentDiffusion, base: LatentDiffusion, images: ImageSet, seed: int) -> float:
    """1 - the suspect's error of the noise over the base's, on pictures at stratified timesteps, the same for all."""
    latents = base.encode(images.pixels)
    noise, t = (drawn[0] for drawn in fixed_samples(LEVELS, tuple(latents.shape[1:]), (50, 950), seed))
    found = []
    for model in (suspect, base):
        text = model.embed([PROMPT] * LEVELS)
        predicted = [model.predict(model.noised(z.expand_as(noise), noise, t), t, text).cpu() for z in latents]
        found.append(float(torch.stack([(one - noise).square().mean() for one in predicted]).mean()))
    return 1 - found[0] / found[1]
