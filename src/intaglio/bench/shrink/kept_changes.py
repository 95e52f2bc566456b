"""Fine-tunes of which a random few changes are kept: the error of their predictions, over the whole change."""

from typing import Any

import torch

from intaglio.adapt.data import TrainingSet
from intaglio.adapt.methods.dreambooth import DreamBooth
from intaglio.bench.kit.suspects import PROMPT
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator
from intaglio.shrink.calibration_states import drawn_states
from intaglio.shrink.methods.darex import DAREx, lost_change

DROPS = (0.5, 0.9, 0.99)
STEPS, QUICK_STEPS = 120, 20
"""Updates of the fine-tune, on the ten members of the first few-shot set."""
ROWS, BATCH = 128, 8


def kept_change_figures(base: LatentDiffusion, *, quick: bool, seed: int) -> dict[str, Any]:
    """The change of predictions that is lost, over the whole change, by the share dropped and the rule of the divisor.

    `dare_loss_at_90` is the denoising loss of the members with nine of ten changes dropped by DARE, over that of the
    whole fine-tune; `darex` has the errors by drop, each beside the one of DARE.
    """
    members = testbed.few_shot(testbed.sets()[0]).members
    tuner = DreamBooth(steps=QUICK_STEPS if quick else STEPS, learning_rate=1e-4, seed=seed)
    tuned = tuner(base, TrainingSet(members, prompt=PROMPT)).model
    rows, judged = (drawn_states(tuned, [PROMPT], ROWS, seed=seed + k) for k in (0, 1))
    found, losses = {}, {}
    for drop in DROPS:
        errors = {}
        for rule in ("dare", "outputs"):
            kept = DAREx(drop=drop, rule=rule, seed=seed)(tuned, rows, base=base).model
            errors[rule] = lost_change(base, tuned, kept, judged, BATCH)
            losses[drop, rule] = _loss(kept, members.pixels)
        found[f"{drop:g}"] = errors
    return {"darex": found, "dare_loss_at_90": losses[0.9, "dare"] / _loss(tuned, members.pixels)}


@torch.no_grad()
def _loss(model: LatentDiffusion, pixels: torch.Tensor) -> float:
    """Denoising loss of pictures under the prompt of the fine-tune, over eight timesteps each."""
    latents = model.encode(pixels.to(model.device))
    source, total, draws = generator(0, "kept changes"), 0.0, 8
    given = model.embed([PROMPT])
    for place in range(draws):
        t = torch.full((len(latents),), (2 * place + 1) * model.schedule.count // (2 * draws), device=model.device)
        noise = torch.randn(latents.shape, generator=source).to(model.device)
        total += float(model.error(latents, noise, t, given).mean())
    return total / draws
