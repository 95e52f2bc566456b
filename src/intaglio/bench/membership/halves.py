"""Condition `halves` of the membership bench: models tuned on halves of forty pictures, each once the suspect.

The others are its shadows. The losses of such models ship with the testbed; gradients take models tuned anew.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intaglio.audit.membership.methods.gsa import GSA, log_odds
from intaglio.audit.membership.methods.lira import deviations, log_likelihood_ratios
from intaglio.audit.membership.per_model import PromptedModel
from intaglio.bench.influence.retrained import RetrainedLosses, Retraining, holdouts, members
from intaglio.bench.kit.fixed_losses import TIMES, measured
from intaglio.bench.kit.suspects import joined
from intaglio.denoising.examples import Examples
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator

HALVES = "halves"
"""Name of the condition."""
SHADOWS = 16
"""Shadows of each suspect in rows of stored losses."""
CONTROLS = 20
"""Pictures of the same sets, outside what any model was tuned on, that a verdict of gradients is calibrated on."""


def stored_audits(truth: RetrainedLosses, base: LatentDiffusion) -> list[dict[str, Any]]:
    """Audits by stored losses: LiRA, offline and online, and the plain loss, with the base's and without.

    Each model of a half subset, of the first seed, is the suspect of one. Its shadows are 16 of the others, drawn anew.
    Online no control can be scored, as no shadow was tuned on one.
    """
    everyone = joined([members(), holdouts()])
    examples = Examples.of(base, everyone, [str(caption) for caption in everyone.captions])
    pool, count = len(members()), len(everyone)
    chosen = np.flatnonzero(truth.of("half") & (truth.seeds == 0))
    fits = -torch.from_numpy(truth.losses[chosen][:, :count]).double()
    kept = torch.zeros(len(chosen), count, dtype=torch.bool)
    kept[:, :pool] = torch.from_numpy(truth.kept[chosen])
    easy = -torch.from_numpy(measured(base, examples)).double()
    found = []
    for place, subset in enumerate(truth.places[chosen].tolist()):
        others = [k for k in range(len(chosen)) if k != place]
        order = torch.randperm(len(others), generator=generator(subset, "shadows of a suspect"))
        shadows = [others[k] for k in order[:SHADOWS].tolist()]
        fit, theirs, known = fits[place], fits[shadows], kept[shadows]
        plain = {"": fit - easy, "alone": fit}
        found += [
            _audit("loss-gap", plain, kept[place, :pool], 2 * TIMES),
            _audit("lira", {"": deviations(fit, theirs, known)}, kept[place, :pool], (1 + SHADOWS) * TIMES),
        ]
        inside = known[:, :pool].sum(0)
        if bool(((inside >= 2) & (len(shadows) - inside >= 2)).all()):
            ratios = log_likelihood_ratios(fit[:pool], theirs[:, :pool], known[:, :pool])
            found.append(_audit("lira-online", {"": ratios}, kept[place, :pool], (1 + SHADOWS) * TIMES))
    return found


def gradient_norms(base: LatentDiffusion, method: GSA, place: int) -> dict[str, list[float]]:
    """The log norms by block, of the pool and then the controls, under one model that is tuned anew."""
    model = Retraining("half", place, 0).model(base)
    everyone = joined([members(), holdouts()[:: len(holdouts()) // CONTROLS]])
    prompts = tuple(str(caption) for caption in everyone.captions)
    examples = Examples.of(base, everyone, prompts)
    with model.frozen():
        with torch.no_grad():
            text = model.embed(list(prompts)).detach()
        prompted = PromptedModel(model, text, method.micro_batch, method.precision, prompts)
        return {block: values.tolist() for block, values in method.numbers(prompted, examples.latents).items()}


def gradient_audits(norms: Sequence[Mapping[str, Sequence[float]]], levels: int) -> list[dict[str, Any]]:
    """Audits by gradients: GSA, and the norm of the whole gradient alone; of each model, with the others its shadows.

    Args:
        norms: of each model, log norms by block of the pool and then of the controls.
        levels: timesteps of a gradient.
    """
    rows = np.stack([np.stack(list(one.values()), -1) for one in norms])
    kept = np.stack([Retraining("half", place, 0).kept for place in range(len(norms))])
    pool, found = kept.shape[1], []
    for place in range(len(norms)):
        others = [k for k in range(len(norms)) if k != place]
        odds, _, _ = log_odds(rows[place], rows[others][:, :pool], kept[others])
        norm = -np.log(np.exp(2 * rows[place]).sum(-1)) / 2
        member = torch.from_numpy(kept[place])
        found += [
            _audit("gsa", {"": torch.from_numpy(odds)}, member, levels * len(norms)),
            _audit("gradient-norm", {"": torch.from_numpy(norm)}, member, levels),
        ]
    return found


def _audit(
    method: str, scores: Mapping[str, Float[Tensor, "n"]], member: Bool[Tensor, "p"], calls: int
) -> dict[str, Any]:
    """The record of one audit: scores of members, of the rest of the pool, and of the pictures after the pool."""
    pool = len(member)
    parts = {
        row: [values[:pool][member].tolist(), values[:pool][~member].tolist(), values[pool:].tolist()]
        for row, values in scores.items()
    }
    about = {"condition": HALVES, "method": method, "role": "method", "sides": "upper", "set": HALVES}
    return {**about, "seconds": None, "calls": calls, "scores": parts}
