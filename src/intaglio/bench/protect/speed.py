"""The speed of AdvDM beside the plain published loop, on the same pictures, at the same effect."""

import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.bench.kit.suspects import PROMPT
from intaglio.bench.protect.plain_loop import plain_advdm
from intaglio.images.image_set import ImageSet, to_uint8
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.budget import Allowance
from intaglio.protect.descent import Group, ProtectionWork
from intaglio.protect.family import Protector
from intaglio.protect.methods.advdm import AdvDM
from intaglio.protect.originals import Original
from intaglio.protect.protection import protect
from intaglio.protect.result import ProtectionResult
from intaglio.protect.surrogate import Surrogate

SHARES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of the plain loop's gradients that AdvDM is tried with, until it has gained as much."""


def beside_plain_loop(
    base: LatentDiffusion, pictures: ImageSet, method: AdvDM, gradients: int, budget: float
) -> dict[str, float]:
    """Seconds a picture of the plain loop and of AdvDM, and the rise of the denoising loss that both gained.

    AdvDM is given the smallest of `SHARES` of the gradients with which it gains no less than the plain loop, and all of
    them where none does, in steps that add up to as much; `share` says which.
    """
    began = time.perf_counter()
    plain = torch.cat(
        [plain_advdm(base, one[None], PROMPT, budget=budget, step=1.0, steps=gradients) for one in pictures.pixels]
    )
    plain_s = (time.perf_counter() - began) / len(pictures)
    plain_gain = _loss_gain(base, method, pictures, plain, budget)
    found: dict[str, float] = {}
    for share in SHARES:
        steps = max(1, round(share * gradients / method.samples))
        fewer = replace(method, steps=steps, step=method.step * method.steps / steps)
        seconds, pixels = _timed(base, pictures, fewer)
        gain = _loss_gain(base, method, pictures, pixels, budget)
        found = {"seconds": seconds, "gain": gain, "share": share}
        if gain >= plain_gain:
            break
    return {"plain_seconds": plain_s, "plain_gain": plain_gain, **found}


def protected(
    base: LatentDiffusion, pictures: ImageSet, method: Protector, folder: Path
) -> tuple[Float[Tensor, "n 3 h w"], ProtectionResult]:
    """Protected pictures as they are read from their files."""
    levels = to_uint8(pictures.pixels).permute(0, 2, 3, 1).numpy()
    given = [Original(f"{k:03d}.png", one) for k, one in enumerate(levels)]
    result = protect(method, base, given, folder, prompt=PROMPT)
    return ImageSet.load(folder, pictures.pixels.shape[-1]).pixels, result


def _timed(base: LatentDiffusion, pictures: ImageSet, method: Protector) -> tuple[float, Tensor]:
    with TemporaryDirectory() as folder:
        began = time.perf_counter()
        pixels, _ = protected(base, pictures, method, Path(folder))
        return (time.perf_counter() - began) / len(pictures), pixels


def _loss_gain(base: LatentDiffusion, method: Protector, clean: ImageSet, changed: Tensor, budget: float) -> float:
    """Rise of the objective of AdvDM on fixed timesteps and noise, the mean over pictures."""
    box = Allowance(clean.pixels, torch.ones_like(clean.pixels[:, :1]), budget)
    with Surrogate.of(base, PROMPT, micro_batch=method.micro_batch) as surrogate:
        work = ProtectionWork(method, surrogate, None, {}, {}, lambda name, levels: None)
        before, after = (work.checked(Group(clean, box), c) for c in (0 * clean.pixels, changed - clean.pixels))
    return float((after - before).mean())
